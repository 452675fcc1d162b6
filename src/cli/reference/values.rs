//! What is told of the annotated pictures on the command line: frames, points, boxes, objects.

use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use p2sam::{Foreground, PointPrompt};

/// Which pixels of a mask file are the object.
#[derive(Args)]
pub struct ForegroundArgs {
    /// Which values of the mask are the object [default: middle, for masks of a single object].
    #[arg(long, value_enum, help_heading = "Reference")]
    foreground: Option<ForegroundArg>,
    /// Which object of a mask that holds several: its grey value or place in the palette, its colour, or
    /// its name where the file has names. Once for all masks, or once for each.
    #[arg(
        long = "object",
        value_name = "VALUE|#RRGGBB|NAME",
        conflicts_with = "foreground",
        help_heading = "Reference"
    )]
    objects: Vec<ObjectArg>,
}

/// Which values of a mask file are the object.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ForegroundArg {
    /// Above the middle between the mask's smallest and largest value: two-level masks of any
    /// values, soft edges, compression noise.
    Middle,
    /// Above 0: all objects together of masks whose values number several.
    Any,
}

/// One of the objects of a mask.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectArg {
    Value(u32),
    Color([u8; 3]),
    Name(String),
}

impl FromStr for ObjectArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix('#') {
            let value = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 6);
            let [_, red, green, blue] = value
                .ok_or_else(|| format!("'{text}' is no colour such as #00ff80"))?
                .to_be_bytes();
            return Ok(Self::Color([red, green, blue]));
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Value))
    }
}

impl ForegroundArgs {
    /// Whether the objects pair with so many masks.
    pub fn check(&self, masks: usize) -> anyhow::Result<()> {
        match self.objects.len() {
            0 | 1 => Ok(()),
            count if count == masks => Ok(()),
            count => bail!(
                "--object is given {count} times for {masks} masks: give it once for all, or once for \
                 each"
            ),
        }
    }

    /// Which pixels are the object of one of the masks, in an image file.
    pub fn of_image(&self, index: usize) -> anyhow::Result<Foreground> {
        Ok(match (self.foreground, self.object(index)) {
            (_, Some(ObjectArg::Value(value))) => Foreground::Value(*value),
            (_, Some(ObjectArg::Color(color))) => Foreground::Color(*color),
            (_, Some(ObjectArg::Name(name))) => bail!(
                "--object {name}: image files have no names for their objects; give the value or the \
                 colour ('#RRGGBB')"
            ),
            (Some(ForegroundArg::Middle), None) => Foreground::Threshold,
            (Some(ForegroundArg::Any), None) => Foreground::AboveZero,
            (None, None) => Foreground::AboveMiddle,
        })
    }

    pub(super) fn object(&self, index: usize) -> Option<&ObjectArg> {
        if self.objects.len() == 1 { self.objects.first() } else { self.objects.get(index) }
    }
}

/// A frame by number or by time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FramePlace {
    Number(u64),
    Time(Duration),
}

impl FromStr for FramePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither a frame number nor a time (12.5s, 1:02.5)");
        let seconds = |text: &str| -> Result<f64, String> {
            text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0).ok_or_else(wrong)
        };
        let total = if let Some(text) = text.strip_suffix('s') {
            seconds(text)?
        } else if text.contains(':') {
            text.split(':')
                .try_fold(0.0, |sum, part| Ok::<_, String>(sum * 60.0 + seconds(part)?))?
        } else {
            return text.parse().map(Self::Number).map_err(|_| wrong());
        };
        Duration::try_from_secs_f64(total).map(Self::Time).map_err(|_| wrong())
    }
}

/// A point prompt on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point(pub PointPrompt);

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (positive, rest) = match text.strip_prefix('-') {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix('+').unwrap_or(text)),
        };
        let [x, y] = numbers(rest).ok_or_else(|| format!("'{text}' is not x,y or -x,y"))?;
        Ok(Self(PointPrompt { x, y, positive }))
    }
}

/// A box prompt on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxArg(pub [f32; 4]);

impl FromStr for BoxArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let corners: [f32; 4] =
            numbers(text).ok_or_else(|| format!("'{text}' is not left,top,right,bottom"))?;
        if corners[0] >= corners[2] || corners[1] >= corners[3] {
            return Err(format!("'{text}': right must be beyond left, and bottom beyond top"));
        }
        Ok(Self(corners))
    }
}

fn numbers<const N: usize>(text: &str) -> Option<[f32; N]> {
    let values: Vec<f32> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|v: &f32| v.is_finite()))
        .collect::<Option<_>>()?;
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_points_and_boxes() {
        assert_eq!("12".parse(), Ok(FramePlace::Number(12)));
        assert_eq!("1.5s".parse(), Ok(FramePlace::Time(Duration::from_millis(1500))));
        assert_eq!("1:02.5".parse(), Ok(FramePlace::Time(Duration::from_millis(62_500))));
        assert!("-3".parse::<FramePlace>().is_err());
        assert!("1e400s".parse::<FramePlace>().is_err());
        let point = |x, y, positive| Ok(Point(PointPrompt { x, y, positive }));
        assert_eq!("10,20".parse(), point(10.0, 20.0, true));
        assert_eq!("+10,20.5".parse(), point(10.0, 20.5, true));
        assert_eq!("-10,20".parse(), point(10.0, 20.0, false));
        assert!("10".parse::<Point>().is_err());
        assert!("NaN,1".parse::<Point>().is_err());
        assert_eq!("1,2,3,4".parse(), Ok(BoxArg([1.0, 2.0, 3.0, 4.0])));
        assert!("3,2,1,4".parse::<BoxArg>().is_err());
    }

    #[test]
    fn objects_are_values_colours_or_names() {
        assert_eq!("5".parse(), Ok(ObjectArg::Value(5)));
        assert_eq!("#00FF80".parse(), Ok(ObjectArg::Color([0, 255, 128])));
        assert_eq!("polyp".parse(), Ok(ObjectArg::Name("polyp".into())));
        assert!("#00ff8".parse::<ObjectArg>().is_err());
    }
}
