//! The vessels under the mucosa: random walks over the wall that branch and grow thinner.

use std::f32::consts::TAU;

use super::math::{Random, cos, sin};
use super::wall::Wall;

/// Way between two dots in tube radii.
const STEP: f32 = 0.012;
/// Most branches of one tree, so that building it ends soon.
const MOST_BRANCHES: usize = 40;

struct Walk {
    angle: f32,
    z: f32,
    heading: f32,
    half_width: f32,
    left: f32,
}

/// Draws vessel trees over the whole wall.
pub(super) fn draw(wall: &mut Wall, angles: &[f32], random: &mut Random) {
    let (begin, end) = Wall::extent();
    let trees = 80;
    for tree in 0..trees {
        let z = begin + (end - begin) * (tree as f32 + random.unit()) / trees as f32;
        let trunk = Walk {
            angle: random.range(0.0, TAU),
            z,
            heading: random.range(0.0, TAU),
            half_width: random.range(0.009, 0.019),
            left: random.range(0.9, 2.0),
        };
        grow(wall, angles, random, trunk);
    }
}

fn grow(wall: &mut Wall, angles: &[f32], random: &mut Random, trunk: Walk) {
    let mut open = vec![trunk];
    let mut branches = 0;
    while let Some(mut walk) = open.pop() {
        let mut curl = 0.0;
        let length = walk.left;
        while walk.left > 0.0 {
            // Vessels fade towards their ends and lie deeper where they are wide.
            let fade = (walk.left / length * 3.0).min(1.0);
            let strength = fade * (0.45 + 28.0 * walk.half_width).min(0.9);
            wall.vessel_dot(angles, walk.angle, walk.z, walk.half_width, strength);
            curl = curl * 0.86 + random.range(-0.05, 0.05);
            walk.heading += curl;
            walk.angle += STEP * cos(walk.heading);
            walk.z += STEP * sin(walk.heading);
            walk.half_width = (walk.half_width - 0.00006).max(0.0065);
            walk.left -= STEP;
            if random.unit() < 0.06 && branches < MOST_BRANCHES && walk.left > 0.15 {
                branches += 1;
                open.push(Walk {
                    angle: walk.angle,
                    z: walk.z,
                    heading: walk.heading + random.sign() * random.range(0.5, 1.0),
                    half_width: (walk.half_width * random.range(0.5, 0.8)).max(0.0065),
                    left: walk.left * random.range(0.4, 0.8),
                });
                walk.heading += random.range(-0.25, 0.25);
            }
        }
    }
}
