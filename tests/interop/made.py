"""Made CT series for the comparison with other programs: pixels of 0.7 and 1 mm, straight, turned against the
patient's axes, with a tilted gantry, and with slices at two distances. A ball in each is the object."""
import sys
from pathlib import Path

import numpy
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures/volumes"))
from common import image, uid  # noqa: E402

SIDE, COUNT = 96, 12
TURNED = numpy.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0, 0, 1]]) @ numpy.array(
    [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])


class Series:
    """Slices in a folder, where each lies, and which voxels are the object."""

    def __init__(self, name, pixel, direction=None, tilt=0.0, heights=None):
        self.name, self.pixel = name, pixel
        self.direction = numpy.eye(3) if direction is None else direction
        heights = numpy.arange(COUNT) * 2.5 if heights is None else numpy.array(heights, float)
        start = numpy.array([-31.3, 12.7, -400.0])
        along, down, normal = self.direction.T
        self.steps = along * pixel, down * pixel
        self.origins = [start + normal * z + down * tilt * z for z in heights]
        gaps = numpy.diff(heights)
        self.shares = numpy.concatenate([[gaps[0]], (gaps[1:] + gaps[:-1]) / 2, [gaps[-1]]])
        centre = self.place(SIDE * 0.52, SIDE * 0.47, len(heights) // 2)
        self.mask = numpy.stack([self.ball(k, centre, 17.3 * pixel) for k in range(len(heights))])

    def place(self, column, row, k):
        return self.origins[k] + self.steps[0] * column + self.steps[1] * row

    def places(self, k):
        rows, columns = numpy.mgrid[:SIDE, :SIDE]
        return (self.origins[k] + self.steps[0] * columns[..., None] + self.steps[1] * rows[..., None])

    def ball(self, k, centre, radius):
        return ((self.places(k) - centre) ** 2).sum(-1) <= radius**2

    def write(self, folder):
        """The slices as files: the ball bright in an uneven surrounding."""
        folder.mkdir(parents=True)
        noise = numpy.random.default_rng(7)
        self.images = []
        for k, mask in enumerate(self.mask):
            values = 60 + 25 * gaussian_filter(noise.standard_normal((SIDE, SIDE)), 3) * 8
            values = gaussian_filter(numpy.where(mask, values + 90, values), 0.7)
            data = image(k, self.origins[k], (SIDE, SIDE), (self.pixel, self.pixel),
                         [*self.direction[:, 0], *self.direction[:, 1]], series=uid(self.name),
                         frame=uid(self.name, "frame"), pixels=(values + 1024).round().astype("uint16"),
                         SliceThickness="2.5", RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU",
                         KVP="120", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], PatientID="made",
                         AcquisitionNumber=1, WindowCenter="90", WindowWidth="260")
            data.StudyInstanceUID = uid(self.name, "study")
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid(self.name, k)
            data.save_as(folder / f"{k:02}.dcm", enforce_file_format=True)
            self.images.append(data)


def all_series():
    uneven = [0, 2.5, 5, 7.5, 10, 12.5, 15, 20, 25, 30, 35, 40]
    return [Series("straight 0.7", 0.7), Series("straight 1.0", 1.0), Series("turned 0.7", 0.7, TURNED),
            Series("tilted 1.0", 1.0, tilt=0.31), Series("uneven 0.7", 0.7, heights=uneven)]
