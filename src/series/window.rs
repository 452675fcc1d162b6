use std::str::FromStr;

/// Which values are black and which are white.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Window {
    /// As the file says; else soft tissue of a CT, and else all but the darkest and the brightest
    /// hundredth.
    #[default]
    File,
    /// By its centre and width, in the file's rescaled values (Hounsfield units of a CT).
    Values {
        /// The middle grey.
        centre: f64,
        /// From black to white.
        width: f64,
    },
}

impl Window {
    /// Air and vessels of the lung, -1350 to 150 HU.
    pub const LUNG: Self = Self::Values { centre: -600.0, width: 1500.0 };
    /// -160 to 240 HU.
    pub const SOFT_TISSUE: Self = Self::Values { centre: 40.0, width: 400.0 };
    /// -450 to 1050 HU.
    pub const BONE: Self = Self::Values { centre: 300.0, width: 1500.0 };
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "file" => Self::File,
            "lung" => Self::LUNG,
            "soft-tissue" => Self::SOFT_TISSUE,
            "bone" => Self::BONE,
            _ => {
                let wrong = || {
                    format!("'{text}' is none of file, lung, soft-tissue, bone and CENTRE,WIDTH")
                };
                let (centre, width) = text.split_once(',').ok_or_else(wrong)?;
                let number = |text: &str| text.trim().parse().ok().filter(|v: &f64| v.is_finite());
                let centre = number(centre).ok_or_else(wrong)?;
                let width = number(width).filter(|w| *w > 0.0).ok_or_else(wrong)?;
                Self::Values { centre, width }
            }
        })
    }
}

/// The window that leaves out the darkest and the brightest hundredth of the values.
pub(super) fn of_values(values: &mut Vec<f32>) -> (f64, f64) {
    values.retain(|v| v.is_finite());
    values.sort_by(f32::total_cmp);
    let at = |share: f64| {
        values.get((share * values.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0)
    };
    let (low, high) = (f64::from(at(0.01)), f64::from(at(0.99)));
    ((low + high) / 2.0, (high - low).max(1e-6))
}

/// Grey level of a value.
pub(super) fn grey(value: f32, (centre, width): (f64, f64)) -> u8 {
    let level = (f64::from(value) - centre) / width + 0.5;
    // What is no number is black.
    (level.clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_by_name_and_by_hand() {
        assert_eq!("lung".parse(), Ok(Window::LUNG));
        assert_eq!("-600,1500".parse(), Ok(Window::LUNG));
        for wrong in ["", "liver", "1", "1,0", "1,-5", "nan,3", "1,inf"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn greys_run_from_the_windows_foot_to_its_top() {
        let window = (40.0, 400.0);
        assert_eq!(
            [-160.0, 240.0, 40.0, -3000.0, 3000.0, f32::NAN].map(|v| grey(v, window)),
            [0, 255, 128, 0, 255, 0]
        );
        let mut values: Vec<f32> = (0..=1000).map(|v| v as f32).collect();
        values.push(f32::INFINITY);
        assert_eq!(of_values(&mut values), (500.0, 980.0));
    }
}
