#!/bin/bash
# rt-utils puts the contours of slice k at the first slice's place plus k times the mean distance of the
# slices, along the normal of the first. Where slices lie at uneven distances (and where a gantry is tilted)
# the contours so lie on other slices than the mask did, while each still names the image that it was drawn
# on (ContourImageSequence). By place the object lies elsewhere than by name, and nothing warns.
# p2sam refuses a structure set whose contours lie elsewhere than the images that they name
# (src/series/dicom/structure_set.rs; test contours_that_lie_elsewhere_than_their_images_are_refused).
#
# Seen with rt-utils 1.2.7 and pydicom 3.0.2, slices at 0, 3, 6, 12 and 18 mm:
#   image at 6.0 mm: its contour at 9.0 mm
#
# Exits non-zero if that changes. Needs python3 with venv.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
python3 -m venv env && env/bin/pip install -q rt-utils==1.2.7 pydicom==3.0.2 numpy==2.4.6 \
    opencv-python-headless==4.13.0.92 || exit 2
env/bin/python - <<'PYTHON'
import sys
import numpy
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from rt_utils import RTStructBuilder
import os
os.mkdir("images")
places = [0.0, 3.0, 6.0, 12.0, 18.0]
for number, place in enumerate(places):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.4"
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = data.PatientName = ""
    data.PatientID = data.PatientBirthDate = data.PatientSex = ""
    data.Modality, data.InstanceNumber = "CT", number + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, place], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.Rows, data.Columns = [1, 1], 16, 16
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = bytes(2 * 16 * 16)
    data.save_as(f"images/{number}.dcm", enforce_file_format=True)
mask = numpy.zeros((16, 16, 5), bool)
mask[4:12, 4:12, 2] = True
made = RTStructBuilder.create_new(dicom_series_path="images")
made.add_roi(mask=mask, name="object")
contour, = made.ds.ROIContourSequence[0].ContourSequence
image = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
found = float(contour.ContourData[2])
named = places[int(image.rsplit(".", 1)[1]) - 1]
print(f"image at {named} mm: its contour at {found} mm")
sys.exit(0 if (named, found) == (6.0, 9.0) else 1)
PYTHON
