"""Checks that a DICOM segmentation is read by highdicom and refers to the images it was made of.

python check_seg.py SEG.dcm FOLDER_OF_IMAGES      (packages: highdicom, pydicom)
"""
import sys
from pathlib import Path

import highdicom
import numpy
import pydicom

path, folder = sys.argv[1:3]
segmentation = highdicom.seg.segread(path)
images = [pydicom.dcmread(file) for file in sorted(Path(folder).rglob("*.dcm"))]
images = [image for image in images if "PixelData" in image and image.Modality != "SEG"]
by_instance = {image.SOPInstanceUID: image for image in images}

named = [source[2] for source in segmentation.get_source_image_uids()]
assert named and all(instance in by_instance for instance in named), "a source image is missing"
assert segmentation.StudyInstanceUID == images[0].StudyInstanceUID
assert segmentation.FrameOfReferenceUID == images[0].FrameOfReferenceUID

pixels = segmentation.get_pixels_by_source_instance(
    source_sop_instance_uids=named, segment_numbers=[1], ignore_spatial_locations=False
)
assert pixels.shape[0] == len(named) and set(numpy.unique(pixels)) <= {0, 1}
for frame in segmentation.PerFrameFunctionalGroupsSequence:
    source = frame.DerivationImageSequence[0].SourceImageSequence[0]
    image = by_instance[source.ReferencedSOPInstanceUID]
    place = frame.PlanePositionSequence[0].ImagePositionPatient
    assert numpy.allclose(place, image.ImagePositionPatient, atol=1e-3)
volume = segmentation.get_volume(segment_numbers=[1])
print(f"{len(named)} images, {int(pixels.sum())} pixels, volume {volume.spatial_shape}")
