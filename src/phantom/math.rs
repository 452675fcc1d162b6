//! Small arithmetic for the renderer. Everything is built from `+ - * /`, `sqrt` and rounding,
//! which IEEE 754 defines to the last bit; the system's `sin` or `exp` may differ by machine.

use std::f32::consts::{FRAC_PI_2, PI};
use std::ops::{Add, Mul, Neg, Sub};

/// A point or a direction in the scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct V3 {
    pub x: f32,
    pub y: f32,
    pub z: f32,
}

/// Makes a vector.
pub(super) const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl V3 {
    pub fn dot(self, o: Self) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    pub fn cross(self, o: Self) -> Self {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The direction of the vector; the zero vector stays zero.
    pub fn unit(self) -> Self {
        self * (1.0 / self.length().max(1e-12))
    }

    /// The product by channel, for colours.
    pub fn times(self, o: Self) -> Self {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
}

impl Add for V3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl Sub for V3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for V3 {
    type Output = Self;
    fn mul(self, k: f32) -> Self {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

impl Neg for V3 {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}

/// `a` at `t = 0`, `b` at `t = 1`.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// The same for colours.
pub(super) fn mix3(a: V3, b: V3, t: f32) -> V3 {
    a + (b - a) * t
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The next whole number below; cheaper than the library call where the processor has no such
/// instruction. For values within the range of `i32`.
pub(super) fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// Sine of an angle in radians, to about 1e-5 for angles up to some thousands.
pub(super) fn sin(angle: f32) -> f32 {
    let half_turns = floor(angle * (1.0 / PI) + 0.5);
    let x = angle - half_turns * PI;
    let s = x * x;
    let y = x
        * (1.0
            - s * (1.0 / 6.0)
                * (1.0 - s * (1.0 / 20.0) * (1.0 - s * (1.0 / 42.0) * (1.0 - s / 72.0))));
    if (half_turns as i32) & 1 == 0 { y } else { -y }
}

/// Cosine of an angle in radians.
pub(super) fn cos(angle: f32) -> f32 {
    sin(angle + FRAC_PI_2)
}

/// Angle of a point in the plane in radians, -pi to pi, to about 1e-4.
pub(super) fn angle_of(y: f32, x: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let ratio = ax.min(ay) / ax.max(ay).max(1e-20);
    let s = ratio * ratio;
    let mut angle = ratio
        * (0.999_866 + s * (-0.330_299_5 + s * (0.180_141 + s * (-0.085_133 + s * 0.020_835_1))));
    if ay > ax {
        angle = FRAC_PI_2 - angle;
    }
    if x < 0.0 {
        angle = PI - angle;
    }
    if y < 0.0 { -angle } else { angle }
}

/// `exp(-x * x)`, to about 1e-3.
pub(super) fn bell(x: f32) -> f32 {
    let s = x * x;
    if s > 16.0 {
        return 0.0;
    }
    // exp(-s) = (exp(-s / 64))^64 by repeated squaring.
    let t = s * (1.0 / 64.0);
    let mut e = 1.0 - t * (1.0 - t * (0.5 - t * (1.0 / 6.0)));
    for _ in 0..6 {
        e *= e;
    }
    e
}

/// Mixes the bits of a number (the finaliser of the splitmix64 generator).
pub(super) fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of random numbers that a seed fixes (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// `stream` separates the uses of one seed from each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(scramble(seed ^ scramble(stream.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (scramble(self.0) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform between two values.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        mix(low, high, self.unit())
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> f32 {
        if self.unit() < 0.5 { -1.0 } else { 1.0 }
    }
}

/// A value in -1..1 for a point of the integer grid. 32-bit arithmetic: it is the innermost loop.
fn grid(seed: u32, x: i32, y: i32, z: i32) -> f32 {
    let mut h = seed
        ^ (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ (z as u32).wrapping_mul(0xcb1a_b31f);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^= h >> 15;
    (h >> 8) as f32 * (2.0 / 16_777_215.0) - 1.0
}

/// Smooth noise in space, -1..1, with features about one unit wide.
pub(super) fn noise(seed: u32, p: V3) -> f32 {
    lattice(p, |x, y, z| grid(seed, x, y, z))
}

/// Smooth noise in the plane that repeats every `period` units in both directions.
pub(super) fn tiled_noise(seed: u32, x: f32, y: f32, period: i32) -> f32 {
    lattice(v3(x, y, 0.0), |x, y, z| grid(seed, x.rem_euclid(period), y.rem_euclid(period), z))
}

fn lattice(p: V3, value: impl Fn(i32, i32, i32) -> f32) -> f32 {
    let (fx, fy, fz) = (floor(p.x), floor(p.y), floor(p.z));
    let (x, y, z) = (fx as i32, fy as i32, fz as i32);
    let ease = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v, w) = (ease(p.x - fx), ease(p.y - fy), ease(p.z - fz));
    let plane = |z: i32| {
        mix(
            mix(value(x, y, z), value(x + 1, y, z), u),
            mix(value(x, y + 1, z), value(x + 1, y + 1, z), u),
            v,
        )
    };
    if w == 0.0 { plane(z) } else { mix(plane(z), plane(z + 1), w) }
}
