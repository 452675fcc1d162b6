//! The wall of the bowel: a bent tube whose radius and colouring are kept in tables over the angle
//! around the tube and the way along it. Lengths are in units of the tube's mean radius.

use std::f32::consts::TAU;

use rayon::prelude::*;

use super::math::{
    Random, V3, angle_of, bell, cos, floor, mix, noise, sin, smooth, tiled_noise, v3,
};

/// Where the tables begin and end along the tube; the polyp sits at 0.
const BEGIN: f32 = -3.2;
const END: f32 = 5.6;
/// Repetitions of the fine relief once around the tube.
const RELIEF_TURNS: f32 = 5.0;
/// Side of the fine relief's tile in texels.
const RELIEF_SIDE: usize = 256;

/// What the picture needs to know of a point of the wall; each value 0..1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface {
    /// From yellowish to reddish mucosa.
    pub red: f32,
    /// How much of a vessel shines through.
    pub vessel: f32,
    /// How wet the place is.
    pub wet: f32,
    /// Blotches of lighter and darker mucosa.
    pub blotch: f32,
}

/// The fine relief at a point: its height (-1..1) and the slopes around and along the tube.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relief {
    pub height: f32,
    pub around: f32,
    pub along: f32,
}

pub(super) struct Wall {
    columns: usize,
    rows: usize,
    rows_per_unit: f32,
    /// Radius, row by row; one column more than `columns`, equal to the first.
    radius: Vec<f32>,
    surface: Vec<[u8; 4]>,
    relief: Vec<Relief>,
    bend: (f32, f32),
}

/// One half-moon fold.
struct Fold {
    angle: f32,
    half_width: f32,
    along: f32,
    thickness: f32,
    height: f32,
    tilt: f32,
}

/// A position around the tube in 0..4 that needs no trigonometry: even steps on a diamond.
fn diamond(x: f32, y: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let t = ay / (ax + ay).max(1e-12);
    let upper = if x < 0.0 { 2.0 - t } else { t };
    if y < 0.0 { 4.0 - upper } else { upper }
}

/// The angle in radians at a position on the diamond.
fn diamond_angle(position: f32) -> f32 {
    let side = floor(position);
    let t = position - side;
    let (x, y) = match side as i32 & 3 {
        0 => (1.0 - t, t),
        1 => (-t, 1.0 - t),
        2 => (t - 1.0, -t),
        _ => (t, t - 1.0),
    };
    angle_of(y, x)
}

/// Difference of two angles, -pi to pi.
fn turn(a: f32, b: f32) -> f32 {
    let d = (a - b) / TAU;
    (d - floor(d + 0.5)) * TAU
}

fn folds(random: &mut Random) -> Vec<Fold> {
    let mut folds = Vec::new();
    let mut along = BEGIN + random.range(0.2, 0.5);
    let mut start = random.range(0.0, TAU);
    while along < END - 0.2 {
        for third in 0..3 {
            folds.push(Fold {
                angle: start + third as f32 * TAU / 3.0 + random.range(-0.3, 0.3),
                half_width: random.range(0.95, 1.5),
                along: along + random.range(-0.16, 0.16),
                thickness: random.range(0.10, 0.17),
                height: random.range(0.16, 0.40),
                tilt: random.range(-0.12, 0.12),
            });
        }
        start += random.range(0.5, 1.4);
        along += random.range(0.66, 0.92);
    }
    folds
}

impl Wall {
    /// Builds the tables. `columns` is the resolution around the tube, `polyp_angle` (radians) the
    /// side of the tube that is kept free of high folds from the polyp on towards the camera, as
    /// they would hide it.
    pub fn new(seed: u64, columns: usize, polyp_angle: f32) -> Self {
        let mut random = Random::new(seed, 1);
        let rows = columns * 5 / 4;
        let rows_per_unit = (rows - 1) as f32 / (END - BEGIN);
        let bend_angle = polyp_angle + random.range(-1.0, 1.0);
        let bend_size = random.range(0.10, 0.16);
        let bend = (cos(bend_angle) * bend_size, sin(bend_angle) * bend_size);
        let folds = folds(&mut random);
        let salt = (random.unit() * 1e6) as u32;
        let angles: Vec<f32> =
            (0..=columns).map(|c| diamond_angle(c as f32 * 4.0 / columns as f32)).collect();
        let mut radius = vec![0.0; rows * (columns + 1)];
        let mut surface = vec![[0; 4]; rows * (columns + 1)];
        radius
            .par_chunks_mut(columns + 1)
            .zip(surface.par_chunks_mut(columns + 1))
            .enumerate()
            .for_each(|(row, (radii, surfaces))| {
                let z = BEGIN + row as f32 / rows_per_unit;
                let near: Vec<&Fold> = folds
                    .iter()
                    .filter(|f| (f.along - z).abs() < 3.0 * f.thickness + 0.3)
                    .collect();
                for ((&angle, r), s) in angles.iter().zip(radii).zip(surfaces) {
                    *r = radius_at(salt, &near, angle, z, polyp_angle);
                    *s = surface_at(salt, angle, z);
                }
            });
        let mut wall = Self {
            columns,
            rows,
            rows_per_unit,
            radius,
            surface,
            relief: relief(salt ^ 0x51),
            bend,
        };
        super::vessels::draw(&mut wall, &angles, &mut Random::new(seed, 2));
        wall
    }

    /// Where the middle of the tube is at a way along it.
    pub fn axis(&self, z: f32) -> (f32, f32) {
        let s = (z - 0.7).max(0.0);
        (self.bend.0 * s * s, self.bend.1 * s * s)
    }

    /// The cell of the tables around a point beside the axis: index of its first corner and the
    /// two fractions.
    fn cell(&self, x: f32, y: f32, z: f32) -> (usize, f32, f32) {
        let column = diamond(x, y) * (self.columns as i32 as f32 * 0.25);
        let row =
            ((z - BEGIN) * self.rows_per_unit).clamp(0.0, (self.rows as i32 - 2) as f32 + 0.999);
        // Signed 32-bit numbers convert to and from floats in one instruction.
        let c = (column as i32).min(self.columns as i32 - 1);
        let r = row as i32;
        let corner = r as usize * (self.columns + 1) + c as usize;
        (corner, column - c as f32, row - r as f32)
    }

    /// How far a point is inside the tube, measured across it: negative behind the wall.
    pub fn depth(&self, p: V3) -> f32 {
        let (ax, ay) = self.axis(p.z);
        let (x, y) = (p.x - ax, p.y - ay);
        let (i, u, v) = self.cell(x, y, p.z);
        let below = i + self.columns + 1;
        let a = mix(self.radius[i], self.radius[i + 1], u);
        let b = mix(self.radius[below], self.radius[below + 1], u);
        mix(a, b, v) - (x * x + y * y).sqrt()
    }

    /// The direction from the wall into the tube near a point; `step` is the width over which the
    /// slope is measured.
    pub fn normal(&self, p: V3, step: f32) -> V3 {
        let at = |x: f32, y: f32, z: f32| {
            let corner = v3(x, y, z);
            corner * self.depth(p + corner * step)
        };
        (at(1.0, -1.0, -1.0) + at(-1.0, -1.0, 1.0) + at(-1.0, 1.0, -1.0) + at(1.0, 1.0, 1.0)).unit()
    }

    /// Colouring at a point of the wall.
    pub fn surface(&self, p: V3) -> Surface {
        let (ax, ay) = self.axis(p.z);
        let (i, u, v) = self.cell(p.x - ax, p.y - ay, p.z);
        let below = i + self.columns + 1;
        let get = |k: usize| {
            let at = |i: usize| f32::from(self.surface[i][k]);
            mix(mix(at(i), at(i + 1), u), mix(at(below), at(below + 1), u), v) * (1.0 / 255.0)
        };
        Surface { red: get(0), vessel: get(1), wet: get(2), blotch: get(3) }
    }

    /// Fine relief at a point of the wall.
    pub fn relief(&self, p: V3) -> Relief {
        let (ax, ay) = self.axis(p.z);
        let tiles = RELIEF_TURNS / TAU;
        let (x, y) = (p.x - ax, p.y - ay);
        // The near face of a fold runs across the tube: there the radius goes on where the way
        // along the tube stands still.
        self.relief_tile(angle_of(y, x) * tiles, (p.z - (x * x + y * y).sqrt()) * tiles)
    }

    /// Fine relief by its own coordinates, in tiles.
    pub fn relief_tile(&self, u: f32, v: f32) -> Relief {
        let side = RELIEF_SIDE as f32;
        let (x, y) = ((u - floor(u)) * side, (v - floor(v)) * side);
        let wrap = RELIEF_SIDE - 1;
        let (cx, cy) = (x as i32 as usize & wrap, y as i32 as usize & wrap);
        let (dx, dy) = ((cx + 1) & wrap, (cy + 1) & wrap);
        let (fx, fy) = (x - floor(x), y - floor(y));
        let corner = |y: usize, x: usize| self.relief[y * RELIEF_SIDE + x];
        let (a, b, c, d) = (corner(cy, cx), corner(cy, dx), corner(dy, cx), corner(dy, dx));
        let blend = |a: f32, b: f32, c: f32, d: f32| mix(mix(a, b, fx), mix(c, d, fx), fy);
        Relief {
            height: blend(a.height, b.height, c.height, d.height),
            around: blend(a.around, b.around, c.around, d.around),
            along: blend(a.along, b.along, c.along, d.along),
        }
    }

    /// Lays a round soft dot of a vessel on the wall. `angle` in radians, the rest in tube radii,
    /// `strength` 0..1. `angles` holds the angle of each column.
    pub(super) fn vessel_dot(
        &mut self,
        angles: &[f32],
        angle: f32,
        z: f32,
        half_width: f32,
        strength: f32,
    ) {
        // Narrower than the table can hold without beads: wider and fainter instead.
        let least = 1.9 * TAU / self.columns as f32;
        let (half_width, strength) = if half_width < least {
            (least, strength * half_width / least)
        } else {
            (half_width, strength)
        };
        let row = (z - BEGIN) * self.rows_per_unit;
        let reach = half_width * self.rows_per_unit;
        let first = (row - reach).ceil().max(0.0) as usize;
        let last = ((row + reach).floor().max(-1.0) + 1.0) as usize;
        let column = diamond(cos(angle), sin(angle)) * (self.columns as i32 as f32 * 0.25);
        // The narrowest columns of the diamond are 2 / pi of the mean width.
        let span = (half_width / TAU * self.columns as f32 * 1.6).ceil() as i64 + 1;
        for r in first..last.min(self.rows) {
            let dz = (r as f32 - row) / self.rows_per_unit;
            for offset in -span..=span {
                let c = (column as i64 + offset).rem_euclid(self.columns as i64) as usize;
                let da = turn(angles[c], angle);
                let away = (da * da + dz * dz) / (half_width * half_width);
                if away < 1.0 {
                    let value = (strength * (1.0 - away) * 255.0) as u8;
                    let i = r * (self.columns + 1) + c;
                    self.surface[i][1] = self.surface[i][1].max(value);
                    if c == 0 {
                        self.surface[i + self.columns][1] = self.surface[i][1];
                    }
                }
            }
        }
    }

    /// Where the tables begin and end along the tube.
    pub(super) fn extent() -> (f32, f32) {
        (BEGIN, END)
    }
}

fn radius_at(salt: u32, folds: &[&Fold], angle: f32, z: f32, polyp_angle: f32) -> f32 {
    let p = v3(cos(angle), sin(angle), z);
    let mut radius = 1.0
        + 0.10 * noise(salt, p * 1.1)
        + 0.035 * noise(salt ^ 7, p * 3.1)
        + 0.010 * noise(salt ^ 9, p * 7.7);
    let beside = turn(angle, polyp_angle).abs();
    let clear =
        (1.0 - smooth(0.7, 1.5, beside)) * smooth(-2.9, -2.3, z) * (1.0 - smooth(0.30, 0.62, z));
    let wobble = 0.10 * noise(salt ^ 3, p * 1.9);
    let mut height = 0.0f32;
    for fold in folds {
        let da = turn(angle, fold.angle);
        let across = 1.0 - (da / fold.half_width) * (da / fold.half_width);
        if across > 0.0 {
            let dz = z - fold.along - fold.tilt * da - wobble - 0.10 * across;
            // The edge of a fold is sharper than its foot.
            let ridge = 0.6 * bell(dz / fold.thickness) + 0.4 * bell(dz / (0.5 * fold.thickness));
            let h = fold.height * across * across.sqrt() * ridge;
            // Folds that meet join smoothly instead of adding up.
            height = (height * height + h * h).sqrt();
        }
    }
    radius -= height.min(0.5) * (1.0 - 0.92 * clear);
    // The wall is drawn up a little where the polyp sits.
    radius - 0.05 * bell(beside / 0.6) * bell(z / 0.6)
}

fn surface_at(salt: u32, angle: f32, z: f32) -> [u8; 4] {
    let p = v3(cos(angle), sin(angle), z);
    let red = 0.5 + 0.45 * noise(salt ^ 21, p * 1.3) + 0.25 * noise(salt ^ 22, p * 3.7);
    let wet = 0.5 + 0.6 * noise(salt ^ 23, p * 2.3) + 0.5 * noise(salt ^ 24, p * 6.1);
    let blotch = 0.5 + 0.35 * noise(salt ^ 25, p * 9.0) + 0.3 * noise(salt ^ 26, p * 19.0);
    let byte = |x: f32| (x.clamp(0.0, 1.0) * 255.0) as u8;
    [byte(red), 0, byte(wet), byte(blotch)]
}

/// The fine relief: rounded pits and bumps of several sizes, with their slopes.
fn relief(salt: u32) -> Vec<Relief> {
    let height: Vec<f32> = (0..RELIEF_SIDE * RELIEF_SIDE)
        .map(|i| {
            let x = (i % RELIEF_SIDE) as f32 / RELIEF_SIDE as f32;
            let y = (i / RELIEF_SIDE) as f32 / RELIEF_SIDE as f32;
            let at = |n: i32, salt: u32| tiled_noise(salt, x * n as f32, y * n as f32, n);
            0.45 * at(13, salt) + 0.35 * at(29, salt ^ 1) + 0.2 * at(61, salt ^ 2)
        })
        .collect();
    let wrap = RELIEF_SIDE - 1;
    (0..height.len())
        .map(|i| {
            let (x, y) = (i % RELIEF_SIDE, i / RELIEF_SIDE);
            let at = |x: usize, y: usize| height[(y & wrap) * RELIEF_SIDE + (x & wrap)];
            Relief {
                height: at(x, y),
                around: (at(x + 1, y) - at(x + wrap, y)) * 8.0,
                along: (at(x, y + 1) - at(x, y + wrap)) * 8.0,
            }
        })
        .collect()
}
