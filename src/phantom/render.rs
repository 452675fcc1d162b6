//! From rays to pixels.

use rayon::prelude::*;

use super::math::{V3, scramble, v3};
use super::motion::{Camera, HALF_HEIGHT, Motion};
use super::polyp::{Polyp, Stand};
use super::shade::{Palette, Sight, develop, polyp, wall};
use super::wall::Wall;
use super::{Difficulty, PhantomOptions};

/// Sides of the squares of pixels whose rays start together; the first is made of the second.
const TILE: usize = 16;
const SMALL_TILE: usize = 4;
/// Farthest point worth looking at, in tube radii.
const FAR: f32 = 6.5;
/// Widest picture inside the frame, width over height; the rest stays black as in an endoscope.
const WIDEST: f32 = 1.38;
/// What is left of the frame's height for the picture.
const MARGIN: f32 = 0.97;
/// Size of the picture's cut corners in half heights.
const CORNER: f32 = 0.42;
/// Colour outside of the picture.
const OUTSIDE: [u8; 3] = [7, 7, 8];

pub(super) struct Scene {
    wall: Wall,
    polyp: Polyp,
    motion: Motion,
    palette: Palette,
    view: View,
    /// Part of a motion cycle from one frame to the next.
    step: f64,
}

/// Where the endoscope's picture lies in the frame.
#[derive(Clone, Copy)]
struct View {
    middle: (f32, f32),
    /// Pixels in half the picture's height.
    half: f32,
    aspect: f32,
}

impl View {
    fn new(width: u32, height: u32) -> Self {
        let (w, h) = (width as f32, height as f32);
        let side = h.min(w) * MARGIN;
        let aspect = (w * MARGIN / side).min(WIDEST);
        Self { middle: (w / 2.0, h / 2.0), half: side / 2.0, aspect }
    }

    /// The place of a pixel's centre in half heights, `None` outside of the picture.
    fn place(&self, x: usize, y: usize) -> Option<(f32, f32)> {
        let px = (x as f32 + 0.5 - self.middle.0) / self.half;
        let py = (y as f32 + 0.5 - self.middle.1) / self.half;
        let (a, b) = (self.aspect - px.abs(), 1.0 - py.abs());
        (a >= 0.0 && b >= 0.0 && a + b >= CORNER).then_some((px, py))
    }
}

/// Everything that is fixed while one frame is rendered.
struct Moment<'a> {
    scene: &'a Scene,
    camera: Camera,
    stand: Stand<'a>,
    lamp: V3,
}

impl Scene {
    /// `cycle` is the length of a motion cycle in seconds.
    pub fn new(options: &PhantomOptions, cycle: f64) -> Self {
        let seed = options.seed;
        let view = View::new(options.width, options.height);
        let angle = Motion::polyp_angle(seed);
        let columns = if options.width.max(options.height) <= 256 { 512 } else { 1024 };
        let wall = Wall::new(seed, columns, angle);
        let size = if options.difficulty == Difficulty::Hard { 0.96 } else { 1.0 };
        let polyp = Polyp::new(seed, &wall, angle, size);
        let motion = Motion::new(seed, options.difficulty, cycle, view.aspect);
        let palette = Palette::new(seed, options.difficulty);
        let step = 1.0 / (cycle * options.frames_per_second);
        Self { wall, polyp, motion, palette, view, step }
    }

    /// The frame's RGB bytes and mask at a position 0..1 of the cycle. `index` only chooses the
    /// sensor noise.
    pub fn render(
        &self,
        options: &PhantomOptions,
        index: u32,
        position: f64,
    ) -> (Vec<u8>, Vec<bool>) {
        let (width, height) = (options.width as usize, options.height as usize);
        let stand = self.motion.stand(&self.polyp, position);
        let camera = self.motion.camera(&stand, position);
        let lamp = camera.eye + camera.right * 0.07 - camera.down * 0.05;
        let moment = Moment { scene: self, camera, stand, lamp };
        let mut rgb = vec![0; width * height * 3];
        let mut mask = vec![false; width * height];
        rgb.par_chunks_mut(width * 3 * TILE)
            .zip(mask.par_chunks_mut(width * TILE))
            .enumerate()
            .for_each(|(band, (rgb, mask))| moment.band(band * TILE, width, rgb, mask));
        let (noise, exposure) = match options.difficulty {
            Difficulty::Easy => (1, 0.0),
            Difficulty::Normal => (2, 0.0),
            Difficulty::Hard => (5, 0.5),
        };
        if exposure > 0.0 {
            // Where a far point moves during the exposure: turning moves the picture most.
            let cycle_step = exposure * self.step;
            let later_stand = self.motion.stand(&self.polyp, position + cycle_step);
            let later = self.motion.camera(&later_stand, position + cycle_step);
            let (x, y) = later.project(camera.forward);
            rgb = smear(&rgb, width, x * self.view.half, y * self.view.half);
        }
        let salt = scramble(options.seed ^ (u64::from(index) << 32));
        (finish(&rgb, width, noise, salt), mask)
    }
}

impl Moment<'_> {
    /// Renders up to [`TILE`] rows, the first of which is row `top`.
    fn band(&self, top: usize, width: usize, rgb: &mut [u8], mask: &mut [bool]) {
        let rows = mask.len() / width;
        for left in (0..width).step_by(TILE) {
            let mut large = None;
            for row in (0..rows).step_by(SMALL_TILE) {
                for x in (left..(left + TILE).min(width)).step_by(SMALL_TILE) {
                    let (corner, mut small) = (x, None);
                    for y in row..(row + SMALL_TILE).min(rows) {
                        for x in x..(x + SMALL_TILE).min(width) {
                            let i = y * width + x;
                            let (colour, on) = match self.scene.view.place(x, top + y) {
                                Some((px, py)) => {
                                    let start = *small.get_or_insert_with(|| {
                                        let start = *large.get_or_insert_with(|| {
                                            self.free_way(left, top, TILE, 0.02)
                                        });
                                        self.free_way(corner, top + row, SMALL_TILE, start)
                                    });
                                    self.pixel(px, py, start)
                                }
                                None => (OUTSIDE, false),
                            };
                            rgb[i * 3..i * 3 + 3].copy_from_slice(&colour);
                            mask[i] = on;
                        }
                    }
                }
            }
        }
    }

    /// How far all rays of a square of pixels can go before one of them might meet the wall, if
    /// they can go as far as `start`.
    fn free_way(&self, left: usize, top: usize, side: usize, start: f32) -> f32 {
        let view = &self.scene.view;
        let half_tile = side as f32 / 2.0;
        let px = (left as f32 + half_tile - view.middle.0) / view.half;
        let py = (top as f32 + half_tile - view.middle.1) / view.half;
        let direction = self.camera.ray(px, py);
        // The projection's scale is at most 2 HALF_HEIGHT radians for a half height.
        let spread = half_tile * 1.5 / view.half * 2.0 * HALF_HEIGHT;
        let mut far = start;
        for _ in 0..40 {
            let free =
                self.scene.wall.depth(self.camera.eye + direction * far) * 0.42 - far * spread;
            if free < 0.004 || far > FAR {
                break;
            }
            far += free;
        }
        far
    }

    /// The colour of a place of the picture, and whether it shows the polyp.
    fn pixel(&self, px: f32, py: f32, start: f32) -> ([u8; 3], bool) {
        let view = self.camera.ray(px, py);
        let far = self.wall_hit(view, start);
        let hit = self.polyp_hit(view, far);
        let eye = self.camera.eye;
        let sight = Sight { eye, view, far: hit.unwrap_or(far), lamp: self.lamp };
        let scene = self.scene;
        let light = if hit.is_some() {
            polyp(&scene.palette, &scene.wall, &self.stand, &sight)
        } else if far >= FAR {
            v3(0.004, 0.002, 0.002)
        } else {
            let gap = (eye + view * far - self.stand.centre).length();
            let near = (gap < 2.0 * self.stand.reach).then_some(&self.stand);
            wall(&scene.palette, &scene.wall, near, &sight)
        };
        // The lens and the lamp leave the picture's rim darker.
        let rim = 1.0 - 0.22 * (px * px + py * py);
        (develop(light * rim.max(0.3)).map(|c| (c + 0.5) as u8), hit.is_some())
    }

    /// Distance to the wall, [`FAR`] if there is none nearer.
    fn wall_hit(&self, view: V3, start: f32) -> f32 {
        let wall = &self.scene.wall;
        let eye = self.camera.eye;
        let (mut before, mut far) = ((start, 0.0), start);
        for _ in 0..90 {
            let depth = wall.depth(eye + view * far);
            if depth <= 0.0 {
                return cross(before, (far, depth), |t| wall.depth(eye + view * t));
            }
            before = (far, depth);
            far += depth * 0.6 + 0.003 * (1.0 + far);
            if far >= FAR {
                return FAR;
            }
        }
        far
    }

    /// Distance to the polyp if the ray meets it before the wall.
    fn polyp_hit(&self, view: V3, wall: f32) -> Option<f32> {
        let eye = self.camera.eye;
        let to = self.stand.centre - eye;
        let middle = to.dot(view);
        let inside = self.stand.reach * self.stand.reach - (to.dot(to) - middle * middle);
        if inside <= 0.0 {
            return None;
        }
        let half = inside.sqrt();
        let end = (middle + half).min(wall);
        let mut far = (middle - half).max(0.0);
        let mut before = (far, 0.0);
        for _ in 0..60 {
            if far >= end {
                return None;
            }
            let distance = self.stand.distance(eye + view * far);
            if distance <= 0.0 {
                let hit = cross(before, (far, distance), |t| self.stand.distance(eye + view * t));
                return Some(hit);
            }
            before = (far, distance);
            far += distance + 0.002;
        }
        None
    }
}

/// Where a function falls to zero between two places, each given with its value there.
fn cross(mut a: (f32, f32), mut b: (f32, f32), value: impl Fn(f32) -> f32) -> f32 {
    let guess = |a: (f32, f32), b: (f32, f32)| {
        a.0 + (b.0 - a.0) * (a.1 / (a.1 - b.1).max(1e-9)).clamp(0.0, 1.0)
    };
    for _ in 0..2 {
        let middle = guess(a, b);
        let here = value(middle);
        if here > 0.0 {
            a = (middle, here);
        } else {
            b = (middle, here);
        }
    }
    guess(a, b)
}

/// Blurs along a way given in pixels.
fn smear(rgb: &[u8], width: usize, x: f32, y: f32) -> Vec<u8> {
    const TAPS: i32 = 7;
    let height = rgb.len() / 3 / width;
    let offsets: Vec<(isize, isize)> = (0..TAPS)
        .map(|k| {
            let t = k as f32 / (TAPS - 1) as f32 - 0.5;
            ((x * t).round() as isize, (y * t).round() as isize)
        })
        .collect();
    let mut out = vec![0; rgb.len()];
    out.par_chunks_mut(width * 3).enumerate().for_each(|(row, out)| {
        for (column, out) in out.chunks_exact_mut(3).enumerate() {
            let mut sum = [0i32; 3];
            for (dx, dy) in &offsets {
                let sx = column.saturating_add_signed(*dx).min(width - 1);
                let sy = row.saturating_add_signed(*dy).min(height - 1);
                let i = (sy * width + sx) * 3;
                for (sum, &c) in sum.iter_mut().zip(&rgb[i..i + 3]) {
                    *sum += i32::from(c);
                }
            }
            for (out, sum) in out.iter_mut().zip(sum) {
                *out = (sum / TAPS) as u8;
            }
        }
    });
    out
}

/// The softness of the lens (a small binomial blur) and the sensor's noise of up to twice `noise`
/// grey levels.
fn finish(rgb: &[u8], width: usize, noise: i32, salt: u64) -> Vec<u8> {
    let stride = width * 3;
    let height = rgb.len() / stride;
    let mut out = vec![0; rgb.len()];
    out.par_chunks_mut(stride).enumerate().for_each(|(y, out)| {
        let line = |y: usize| &rgb[y * stride..(y + 1) * stride];
        let (above, here) = (line(y.saturating_sub(1)), line(y));
        let below = line((y + 1).min(height - 1));
        let column: Vec<i32> = above
            .iter()
            .zip(here)
            .zip(below)
            .map(|((&a, &b), &c)| i32::from(a) + 2 * i32::from(b) + i32::from(c))
            .collect();
        for x in 0..width {
            let (l, r) = (x.saturating_sub(1) * 3, (x + 1).min(width - 1) * 3);
            let bits = scramble(salt ^ (y * width + x) as u64);
            for k in 0..3 {
                let value = (column[l + k] + 2 * column[x * 3 + k] + column[r + k] + 8) >> 4;
                // Two random bytes make a triangle around zero.
                let pair = bits >> (16 * k);
                let grain = (pair & 255) as i32 + (pair >> 8 & 255) as i32 - 255;
                let level = if value > 8 { value + grain * noise / 255 } else { value };
                out[x * 3 + k] = level.clamp(0, 255) as u8;
            }
        }
    });
    out
}
