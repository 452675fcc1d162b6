//! The polyp: a lobed dome on the wall, narrower at its foot.

use std::f32::consts::TAU;

use super::math::{Random, V3, cos, noise, sin, v3};
use super::wall::Wall;

/// What does not change over time. Lengths in tube radii.
pub(super) struct Polyp {
    foot: V3,
    /// From the foot into the tube.
    up: V3,
    side: V3,
    radii: V3,
    lift: f32,
    neck: f32,
    lobes: [Lobe; 6],
    salt: u32,
}

#[derive(Clone, Copy)]
struct Lobe {
    axis: V3,
    phase: f32,
    height: f32,
}

/// The polyp as it stands at one moment.
pub(super) struct Stand<'a> {
    polyp: &'a Polyp,
    /// Middle of the head.
    pub centre: V3,
    u: V3,
    v: V3,
    w: V3,
    /// No part of the polyp is farther from the middle.
    pub reach: f32,
    smallest: f32,
}

/// The look of a point of the polyp; each value -1..1.
pub(super) struct Skin {
    pub mottle: f32,
    pub pits: f32,
}

impl Polyp {
    pub fn new(seed: u64, wall: &Wall, angle: f32, size: f32) -> Self {
        let mut random = Random::new(seed, 3);
        let (ax, ay) = wall.axis(0.0);
        let outward = v3(cos(angle), sin(angle), 0.0);
        let depth = wall.depth(v3(ax, ay, 0.0) + outward * 0.5) + 0.5;
        let radius = size * random.range(0.42, 0.47);
        let mut lobe = |wave: f32, height: f32| {
            let axis =
                v3(random.range(-1.0, 1.0), random.range(-1.0, 1.0), random.range(-1.0, 1.0));
            Lobe { axis: axis.unit() * wave, phase: random.range(0.0, TAU), height }
        };
        let lobes = [
            lobe(2.6, 0.060),
            lobe(3.4, 0.060),
            lobe(4.4, 0.050),
            lobe(6.1, 0.032),
            lobe(8.0, 0.018),
            lobe(11.0, 0.010),
        ];
        Self {
            foot: v3(ax, ay, 0.0) + outward * depth,
            up: -outward,
            side: v3(-outward.y, outward.x, 0.0),
            radii: v3(
                radius * random.range(0.95, 1.12),
                radius * random.range(0.92, 1.1),
                radius * 0.86,
            ),
            lift: radius * random.range(0.28, 0.58),
            neck: random.range(0.15, 0.5),
            lobes,
            salt: (random.unit() * 1e6) as u32,
        }
    }

    /// The polyp leaning by small angles (radians) along and across the tube and turned about its
    /// own axis by `twist` radians.
    pub fn stand(&self, along: f32, across: f32, twist: f32) -> Stand<'_> {
        let forward = v3(0.0, 0.0, 1.0);
        let w = (self.up + forward * along + self.side * across).unit();
        let u0 = (forward - w * forward.dot(w)).unit();
        let v0 = w.cross(u0);
        let (c, s) = (cos(twist), sin(twist));
        let largest = self.radii.x.max(self.radii.y).max(self.radii.z);
        Stand {
            polyp: self,
            centre: self.foot + w * self.lift,
            u: u0 * c + v0 * s,
            v: v0 * c - u0 * s,
            w,
            reach: largest * 1.25,
            smallest: self.radii.x.min(self.radii.y).min(self.radii.z),
        }
    }
}

impl Stand<'_> {
    /// A point in the polyp's own coordinates, where its head is about the unit ball.
    fn own(&self, p: V3) -> V3 {
        let q = p - self.centre;
        let r = self.polyp.radii;
        let w = q.dot(self.w) / r.z;
        let narrow = 1.0 + self.polyp.neck * (-w - 0.15).max(0.0);
        v3(q.dot(self.u) / r.x * narrow, q.dot(self.v) / r.y * narrow, w)
    }

    /// A lower estimate of the distance to the surface, negative inside.
    pub fn distance(&self, p: V3) -> f32 {
        let q = self.own(p);
        let length = q.length();
        let direction = q * (1.0 / length.max(1e-6));
        let bump: f32 = self
            .polyp
            .lobes
            .iter()
            .map(|lobe| lobe.height * sin(direction.dot(lobe.axis) + lobe.phase))
            .sum();
        (length - 1.0 - bump) * self.smallest * 0.75
    }

    /// The direction out of the polyp at a point of its surface.
    pub fn normal(&self, p: V3) -> V3 {
        let e = 0.006;
        let at = |x: f32, y: f32, z: f32| {
            let corner = v3(x, y, z);
            corner * self.distance(p + corner * e)
        };
        (at(1.0, -1.0, -1.0) + at(-1.0, -1.0, 1.0) + at(-1.0, 1.0, -1.0) + at(1.0, 1.0, 1.0)).unit()
    }

    /// Colouring at a point of the surface.
    pub fn skin(&self, p: V3) -> Skin {
        let q = self.own(p);
        let salt = self.polyp.salt;
        let mottle = noise(salt, q * 2.7) * 0.65 + noise(salt ^ 5, q * 6.5) * 0.35;
        let pits = noise(salt ^ 6, q * 15.0);
        Skin { mottle, pits }
    }

    /// Two coordinates on the surface for the fine relief, in tiles, and the directions in which
    /// they grow.
    pub fn relief_frame(&self, p: V3) -> (f32, f32, V3, V3) {
        let q = self.own(p);
        (q.x * 0.42 + q.z * 0.2 + 0.3, q.y * 0.42 + 0.7, self.u, self.v)
    }
}
