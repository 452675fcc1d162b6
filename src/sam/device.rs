//! Where the model runs.

use std::fmt;
use std::str::FromStr;

use burn::DispatchDevice;

use super::SamError;

/// The device asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first NVIDIA GPU if there is one that works, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = SamError;

    fn from_str(text: &str) -> Result<Self, SamError> {
        let unknown = || SamError::UnknownDevice(text.to_owned());
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "cpu" => Ok(Self::Cpu),
                "cuda" => Ok(Self::Cuda(0)),
                _ => Err(unknown()),
            },
            Some(("cuda", number)) => number.parse().map(Self::Cuda).map_err(|_| unknown()),
            Some(_) => Err(unknown()),
        }
    }
}

/// A device that was opened and works.
#[derive(Clone, Debug)]
pub struct Device {
    inner: DispatchDevice,
    name: String,
    note: Option<String>,
}

impl Device {
    /// Opens a device and tries it with a small computation.
    ///
    /// # Errors
    /// [`SamError::Device`] if a GPU was asked for by name and does not work.
    pub fn open(choice: DeviceChoice) -> Result<Self, SamError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu(None)),
            DeviceChoice::Cuda(number) => cuda(number)
                .map_err(|reason| SamError::Device { device: format!("cuda:{number}"), reason }),
            DeviceChoice::Auto => Ok(match cuda(0) {
                Ok(device) => device,
                Err(reason) => Self::cpu(Some(format!("using the CPU: {reason}"))),
            }),
        }
    }

    fn cpu(note: Option<String>) -> Self {
        Self { inner: DispatchDevice::Flex(Default::default()), name: "cpu".to_owned(), note }
    }

    /// What `auto` has to say about its choice, in one line.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub(crate) fn inner(&self) -> &DispatchDevice {
        &self.inner
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this build has no CUDA support; build with --features cuda".to_owned())
}

/// Without a driver the CUDA libraries panic on first use, on this thread or on their own; the
/// panic is caught and kept from the user's terminal.
#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    use burn::Dispatch;
    use burn::backend::cuda::CudaDevice;
    use burn::tensor::Tensor;

    let inner = DispatchDevice::Cuda(CudaDevice::new(number));
    let tried = crate::quiet::quietly_on_device(|| {
        let ones = Tensor::<Dispatch, 1>::ones([4], &inner);
        ones.sum().into_scalar()
    });
    match tried {
        Some(sum) if sum == 4.0 => Ok(Device { inner, name: format!("cuda:{number}"), note: None }),
        Some(_) => Err("the GPU computes wrong results".to_owned()),
        None => Err("no usable NVIDIA driver or GPU of that number".to_owned()),
    }
}
