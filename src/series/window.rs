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

/// How values become grey levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum GreyWindow {
    /// From black at the first value to white at the second.
    Linear(f64, f64),
    /// Centre and width of a sigmoid (PS3.3 C.11.2.1.3.1).
    Sigmoid(f64, f64),
}

impl GreyWindow {
    /// From `width / 2` below the centre to as much above it (`LINEAR_EXACT` of PS3.3 C.11.2.1.3.2).
    pub fn exact(centre: f64, width: f64) -> Self {
        Self::Linear(centre - width / 2.0, centre + width / 2.0)
    }

    /// DICOM's default function of whole numbers (PS3.3 C.11.2.1.2.1): half a unit to the left, one
    /// narrower.
    pub fn of_whole_numbers(centre: f64, width: f64) -> Self {
        Self::exact(centre - 0.5, (width - 1.0).max(1e-6))
    }

    /// Grey level of a value; what is no number is black.
    pub fn grey(self, value: f32) -> u8 {
        let value = f64::from(value);
        let level = match self {
            Self::Linear(black, white) => (value - black) / (white - black),
            Self::Sigmoid(centre, width) => 1.0 / (1.0 + (-4.0 * (value - centre) / width).exp()),
        };
        (level.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

/// The window that leaves out the darkest and the brightest hundredth of the values, or none of them if
/// all others are the same.
pub(super) fn of_values(values: &mut Vec<f32>) -> GreyWindow {
    values.retain(|v| v.is_finite());
    values.sort_by(f32::total_cmp);
    let at = |share: f64| {
        values.get((share * values.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0)
    };
    let ends = |low, high| (f64::from(at(low)), f64::from(at(high)));
    let (low, high) = match ends(0.01, 0.99) {
        (low, high) if high > low => (low, high),
        _ => ends(0.0, 1.0),
    };
    GreyWindow::exact((low + high) / 2.0, (high - low).max(1e-6))
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
        let window = GreyWindow::exact(40.0, 400.0);
        assert_eq!(
            [-160.0, 240.0, 40.0, -3000.0, 3000.0, f32::NAN].map(|v| window.grey(v)),
            [0, 255, 128, 0, 255, 0]
        );
        let mut values: Vec<f32> = (0..=1000).map(|v| v as f32).collect();
        values.push(f32::INFINITY);
        assert_eq!(of_values(&mut values), GreyWindow::Linear(10.0, 990.0));
        // A small bright object in the dark is not all white.
        let mut values = vec![0.0; 1000];
        values[500..504].copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(of_values(&mut values), GreyWindow::Linear(0.0, 4.0));
    }
}
