//! Where the camera is and how the polyp stands, over one cycle of the clip.

use std::f32::consts::{FRAC_PI_2, TAU};

use super::Difficulty;
use super::math::{Random, V3, angle_of, cos, mix, sin, v3};
use super::polyp::{Polyp, Stand};

/// Half the picture's height on the plane of the stereographic projection: tan(angle / 2) of a half
/// angle of 47 degrees.
pub(super) const HALF_HEIGHT: f32 = 0.435;

/// The camera at one moment: place and axes.
#[derive(Clone, Copy)]
pub(super) struct Camera {
    pub eye: V3,
    pub right: V3,
    pub down: V3,
    pub forward: V3,
}

impl Camera {
    /// The direction a point of the picture looks into. The picture is in half heights from its
    /// middle, x to the right, y down; the projection is stereographic, so a ball looks round
    /// everywhere.
    pub fn ray(&self, x: f32, y: f32) -> V3 {
        let c = lens(x, y);
        self.right * c.x + self.down * c.y + self.forward * c.z
    }

    /// Where a direction appears in the picture, in half heights from its middle.
    pub fn project(&self, direction: V3) -> (f32, f32) {
        let d = direction.unit();
        let k = 1.0 / (HALF_HEIGHT * (1.0 + d.dot(self.forward)).max(1e-3));
        (d.dot(self.right) * k, d.dot(self.down) * k)
    }
}

fn lens(x: f32, y: f32) -> V3 {
    let (x, y) = (x * HALF_HEIGHT, y * HALF_HEIGHT);
    let s = x * x + y * y;
    v3(2.0 * x, 2.0 * y, 1.0 - s) * (1.0 / (1.0 + s))
}

/// A sum of sines that repeats with the cycle.
struct Wave(Vec<(f64, f32, f32)>);

impl Wave {
    fn new(random: &mut Random, size: f32, tones: u32) -> Self {
        let loudness: f32 = (1..=tones).map(|k| 1.0 / k as f32).sum();
        Self(
            (1..=tones)
                .map(|k| {
                    let share = size / (k as f32 * loudness);
                    (f64::from(k), share, random.range(0.0, TAU))
                })
                .collect(),
        )
    }

    fn at(&self, u: f64) -> f32 {
        self.0
            .iter()
            .map(|&(k, size, phase)| size * sin((k * u).fract() as f32 * TAU + phase))
            .sum()
    }
}

pub(super) struct Motion {
    distance: f32,
    swing: f32,
    waves: [Wave; 9],
    /// Width of the picture over its height.
    aspect: f32,
    near: f32,
}

impl Motion {
    /// `cycle` in seconds.
    pub fn new(seed: u64, difficulty: Difficulty, cycle: f64, aspect: f32) -> Self {
        let mut random = Random::new(seed, 4);
        let size = match difficulty {
            Difficulty::Easy => 0.65,
            Difficulty::Normal => 1.0,
            Difficulty::Hard => 1.5,
        };
        // A short cycle has no time for many movements.
        let tones = (cycle / 2.2).clamp(1.0, 5.0) as u32;
        let mut wave = |amplitude: f32, tones: u32| Wave::new(&mut random, amplitude * size, tones);
        let waves = [
            wave(0.13, tones),
            wave(0.13, tones),
            wave(0.10, tones + 1),
            wave(0.28, tones),
            wave(0.30, tones),
            wave(0.16, tones + 1),
            wave(0.16, tones),
            wave(0.16, tones),
            wave(0.30, tones),
        ];
        Self {
            distance: random.range(1.32, 1.42),
            swing: random.sign() * (0.16 + 0.09 * size),
            waves,
            aspect,
            near: random.range(0.26, 0.40),
        }
    }

    /// The side of the tube the polyp sits on, in radians: above or below rather than beside, as
    /// the picture is lower than wide and a smaller turn of the camera loses sight of it.
    pub fn polyp_angle(seed: u64) -> f32 {
        let mut random = Random::new(seed, 5);
        random.sign() * FRAC_PI_2 + random.range(-0.85, 0.85)
    }

    /// The polyp at a position 0..1 of the cycle.
    pub fn stand<'a>(&self, polyp: &'a Polyp, u: f64) -> Stand<'a> {
        polyp.stand(self.waves[6].at(u), self.waves[7].at(u), self.waves[8].at(u))
    }

    /// The camera at a position 0..1 of the cycle.
    pub fn camera(&self, stand: &Stand, u: f64) -> Camera {
        let turn = self.swing * sin(u as f32 * TAU);
        let eye = v3(
            self.waves[0].at(u),
            self.waves[1].at(u),
            // Zero at the start, so that every clip begins about as near to the polyp.
            -(self.distance + turn + self.waves[2].at(u) - self.waves[2].at(0.0)),
        );
        let roll = self.waves[3].at(u);
        let (c, s) = (cos(roll), sin(roll));
        let (right, down) = (v3(c, s, 0.0), v3(-s, c, 0.0));
        let sight = stand.centre - eye;
        let far = sight.length();
        let seen = v3(sight.dot(right), sight.dot(down), sight.z) * (1.0 / far);

        // The polyp is kept near the line from the picture's middle to where a camera that looks
        // straight down the tube would see it.
        let angle = angle_of(seen.y, seen.x) + self.waves[4].at(u) * (1.0 - away(u));
        let (dx, dy) = (cos(angle), sin(angle));
        let edge = (self.aspect / dx.abs().max(1e-3)).min(1.0 / dy.abs().max(1e-3));
        // A ball looks larger beside the optical axis by 1 + k^2.
        let k = edge * HALF_HEIGHT;
        let ball = stand.reach / far * 0.5 / HALF_HEIGHT * (1.0 + k * k) * 1.2;
        let inside = self.near + self.waves[5].at(u);
        let place = mix(inside, edge + ball, away(u));
        let wanted = lens(dx * place, dy * place);

        // The smallest turn that brings the polyp from where it is seen to where it is wanted.
        let axis = wanted.cross(seen);
        let scale = 1.0 / (1.0 + wanted.dot(seen)).max(1e-3);
        let turned = |v: V3| {
            let a = axis.cross(v);
            let t = v + a + axis.cross(a) * scale;
            right * t.x + down * t.y + v3(0.0, 0.0, t.z)
        };
        Camera {
            eye,
            right: turned(v3(1.0, 0.0, 0.0)),
            down: turned(v3(0.0, 1.0, 0.0)),
            forward: turned(v3(0.0, 0.0, 1.0)),
        }
    }
}

/// How far the camera has turned away: 0 at the ends of the cycle, 1 in its middle.
fn away(u: f64) -> f32 {
    let t = ((0.196 - (u - 0.5).abs()) / 0.15).clamp(0.0, 1.0) as f32;
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}
