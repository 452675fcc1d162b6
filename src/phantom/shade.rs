//! Light and colour of a point that the camera sees.

use super::Difficulty;
use super::math::{Random, V3, mix, mix3, smooth, v3};
use super::polyp::Stand;
use super::wall::Wall;

/// The colours and wetness of one clip. Colours are linear light, red green blue.
pub(super) struct Palette {
    red: V3,
    yellow: V3,
    polyp: V3,
    polyp_dark: V3,
    /// Size of the fine relief on the wall and on the polyp.
    rough: f32,
    gloss: f32,
}

impl Palette {
    pub fn new(seed: u64, difficulty: Difficulty) -> Self {
        let mut random = Random::new(seed, 6);
        let hue = random.range(-0.02, 0.02);
        let red = v3(0.70, 0.190 + hue, 0.120 + hue * 0.7);
        let yellow = v3(0.75, 0.290 + hue, 0.165 + hue * 0.7);
        let wall = mix3(red, yellow, 0.5);
        let (contrast, gloss) = match difficulty {
            Difficulty::Easy => (1.0, 0.7),
            Difficulty::Normal => (0.94, 1.0),
            Difficulty::Hard => (0.42, 1.6),
        };
        Self {
            red,
            yellow,
            polyp: mix3(wall, v3(0.62, 0.105, 0.085), contrast),
            polyp_dark: mix3(wall, v3(0.44, 0.040, 0.040), contrast),
            rough: 0.15,
            gloss,
        }
    }
}

/// What the light does at a point: from the eye at `eye` into `view`, to a distance `far`.
pub(super) struct Sight {
    pub eye: V3,
    pub view: V3,
    pub far: f32,
    pub lamp: V3,
}

impl Sight {
    fn point(&self) -> V3 {
        self.eye + self.view * self.far
    }

    /// Light that a rough surface of this normal sends back, and its mirror highlight (0..1).
    fn light(&self, normal: V3, fine: V3, sharp: f32) -> (f32, f32) {
        let to_lamp = self.lamp - self.point();
        let away = to_lamp.length();
        let l = to_lamp * (1.0 / away.max(1e-4));
        // Light also travels inside the tissue, so the shade begins late.
        let soft = (0.75 * fine.dot(l) + 0.25 * normal.dot(l)) * 0.78 + 0.22;
        let falloff = 1.0 / (0.25 + away * away * (0.75 + 0.28 * away * away));
        let half = (l - self.view).unit();
        let shine = smooth(sharp, 1.0 - (1.0 - sharp) * 0.25, fine.dot(half));
        (soft.max(0.02) * falloff, shine)
    }
}

const LAMP: f32 = 3.5;

/// Colour of a point of the wall. `polyp` only if it is near enough to cast its shade.
pub(super) fn wall(palette: &Palette, wall: &Wall, polyp: Option<&Stand>, sight: &Sight) -> V3 {
    let p = sight.point();
    let normal = wall.normal(p, 0.010 + 0.004 * sight.far);
    let surface = wall.surface(p);
    let relief = wall.relief(p);
    let (ax, ay) = wall.axis(p.z);
    let around = v3(ay - p.y, p.x - ax, 0.0).unit();
    // The relief is too fine to be seen from afar, where it would only flicker.
    let rough = palette.rough / (1.0 + 0.35 * sight.far * sight.far);
    let bumps = around * relief.around + normal.cross(around) * relief.along;
    let fine = (normal - bumps * rough).unit();
    let wet = smooth(0.25, 0.85, surface.wet);
    let (light, shine) = sight.light(normal, fine, 0.991 - 0.010 * wet);

    let base = mix3(palette.yellow, palette.red, surface.red);
    let base = base * (0.86 + 0.24 * surface.blotch + 0.07 * relief.height);
    let blood = v3(0.56, 0.20, 0.26);
    let mut colour = base.times(mix3(v3(1.0, 1.0, 1.0), blood, surface.vessel));

    // Corners get less light, and what they get has been reddened by the tissue around.
    let open = (wall.depth(p + normal * 0.22) / 0.22).clamp(0.0, 1.0);
    let mut shade = 0.42 + 0.58 * open;
    if let Some(polyp) = polyp {
        let gap = polyp.distance(p).max(0.0) / 0.07;
        shade *= 1.0 - 0.62 / (1.0 + gap * gap);
    }
    colour = colour.times(v3(shade, shade * mix(0.86, 1.0, shade), shade * mix(0.80, 1.0, shade)));
    glaze(colour * (light * LAMP), shine * wet * palette.gloss * open, sight.far)
}

/// Colour of a point of the polyp.
pub(super) fn polyp(palette: &Palette, wall: &Wall, polyp: &Stand, sight: &Sight) -> V3 {
    let p = sight.point();
    let normal = polyp.normal(p);
    let skin = polyp.skin(p);
    let (u, v, du, dv) = polyp.relief_frame(p);
    let relief = wall.relief_tile(u, v);
    let bumps = du * relief.around + dv * relief.along;
    let fine = (normal - bumps * (palette.rough * 0.9)).unit();
    let (light, shine) = sight.light(normal, fine, 0.987);

    let tone = smooth(-0.7, 0.9, skin.mottle);
    let mut colour = mix3(palette.polyp_dark, palette.polyp, tone);
    colour = colour * (1.0 + 0.20 * skin.pits + 0.05 * relief.height);
    // The rim turns away from the light, the foot stands in a corner.
    let facing = (-normal.dot(sight.view)).clamp(0.0, 1.0);
    let rim = 0.62 + 0.38 * smooth(0.0, 0.55, facing);
    let foot = 0.55 + 0.45 * smooth(0.0, 0.16, wall.depth(p));
    glaze(colour * (light * LAMP * rim * foot), shine * palette.gloss, sight.far)
}

/// Adds the mirror image of the lamp on the wet surface.
fn glaze(colour: V3, shine: f32, far: f32) -> V3 {
    let glint = shine * 9.0 / (0.5 + far * far);
    colour + v3(1.0, 0.97, 0.92) * glint
}

/// From linear light to display values 0..255 (before rounding).
pub(super) fn develop(light: V3) -> [f32; 3] {
    let curve = |x: f32| {
        let x = x.max(0.0);
        // Bright parts run together softly; the square root stands for the display's gamma.
        ((x * (1.0 + x * 0.13)) / (1.0 + x)).min(1.0).sqrt() * 255.0
    };
    [curve(light.x), curve(light.y), curve(light.z)]
}
