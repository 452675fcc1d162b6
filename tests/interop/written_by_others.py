"""Masks of others that p2sam reads: each writer returns the file. What is read is compared voxel by voxel."""
import json
import shutil

import highdicom
import nibabel
import numpy
import SimpleITK
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from made import SIDE
from pydicom.sr.codedict import codes
from pydicom.uid import JPEG2000Lossless, generate_uid
from rt_utils import RTStructBuilder
from written_by_p2sam import run


def is_grid(series):
    """Whether the slices are a grid of equal steps at right angles."""
    return "uneven" not in series.name and "tilted" not in series.name


def of_highdicom(kind, array=None, **more):
    def write(series, folder):
        algorithm = highdicom.AlgorithmIdentificationSequence("made", codes.DCM.ArtificialIntelligence, "1")
        described = SegmentDescription(1, "object", codes.SCT.MorphologicallyAbnormalStructure,
                                       codes.SCT.Lesion, SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
        pixels = numpy.ascontiguousarray(series.mask if array is None else array(series.mask))
        made = highdicom.seg.Segmentation(series.images, pixels, kind, [described], generate_uid(), 1,
                                          generate_uid(), 1, "made", "made", "1", "1", **more)
        file = folder / f"highdicom-{len(list(folder.iterdir()))}.dcm"
        made.save_as(file)
        return file
    return write


def image(series):
    made = SimpleITK.GetImageFromArray(series.mask.astype("uint8"))
    made.SetOrigin(series.origins[0].tolist())
    made.SetSpacing([series.pixel, series.pixel, 2.5])
    made.SetDirection(series.direction.ravel().tolist())
    return made


def of_simpleitk(series, folder, ending="nii.gz"):
    if not is_grid(series):
        return None
    file = folder / f"simpleitk.{ending}"
    SimpleITK.WriteImage(image(series), str(file))
    return file


def of_nibabel(series, folder):
    if not is_grid(series):
        return None
    affine = numpy.eye(4)
    affine[:3, 0], affine[:3, 1] = series.steps
    affine[:3, 2], affine[:3, 3] = series.origins[1] - series.origins[0], series.origins[0]
    # Rows from front to back in the file's own order.
    array = series.mask.transpose(2, 1, 0)[:, ::-1].astype("uint8")
    affine[:3, 3] += affine[:3, 1] * (SIDE - 1)
    affine[:3, 1] *= -1
    file = folder / "nibabel.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, numpy.diag([-1, -1, 1, 1]) @ affine), file)
    return file


def of_dcmqi(series, folder):
    if not is_grid(series):
        return None
    meta = {
        "ContentCreatorName": "made", "SeriesNumber": "300", "InstanceNumber": "1",
        "segmentAttributes": [[{
            "labelID": 1, "SegmentDescription": "object", "SegmentLabel": "object",
            "SegmentAlgorithmType": "AUTOMATIC", "SegmentAlgorithmName": "made",
            "SegmentedPropertyCategoryCodeSequence": {
                "CodeValue": "49755003", "CodingSchemeDesignator": "SCT",
                "CodeMeaning": "Morphologically Altered Structure"},
            "SegmentedPropertyTypeCodeSequence": {
                "CodeValue": "52988006", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Lesion"},
        }]],
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    mask, file = of_simpleitk(series, folder, "nrrd"), folder / "dcmqi.dcm"
    run("itkimage2segimage", "--inputImageList", mask, "--inputDICOMDirectory", folder / "images",
        "--outputDICOM", file, "--inputMetadata", folder / "meta.json")
    return file


def of_rt_utils(series, folder):
    made = RTStructBuilder.create_new(dicom_series_path=str(folder / "images"))
    made.add_roi(mask=numpy.moveaxis(series.mask, 0, -1), name="object")
    made.save(str(folder / "rt-utils.dcm"))
    return folder / "rt-utils.dcm"


def of_plastimatch(series, folder):
    if not is_grid(series):
        return None
    mask, out = of_simpleitk(series, folder, "mha"), folder / "plastimatch"
    shutil.rmtree(out, ignore_errors=True)
    run("plastimatch", "convert", "--input-ss-img", mask, "--referenced-ct", folder / "images", "--output-dicom",
        out)
    (file,) = [f for f in out.iterdir() if f.name.startswith("rtss") or "RTSTRUCT" in f.name or "rs" in f.name]
    return file


WRITERS = [
    ("highdicom", "DICOM segmentation, binary", of_highdicom(SegmentationTypeValues.BINARY)),
    ("highdicom", "binary, JPEG 2000",
     of_highdicom(SegmentationTypeValues.BINARY, transfer_syntax_uid=JPEG2000Lossless)),
    ("highdicom", "fractional",
     of_highdicom(SegmentationTypeValues.FRACTIONAL, lambda mask: mask.astype(float) * 0.7)),
    ("highdicom", "label map", of_highdicom(SegmentationTypeValues.LABELMAP, lambda mask: mask.astype("uint8"))),
    ("dcmqi", "DICOM segmentation", of_dcmqi),
    ("SimpleITK", "NIfTI", of_simpleitk),
    ("nibabel", "NIfTI", of_nibabel),
    ("rt-utils", "structure set", of_rt_utils),
    ("plastimatch", "structure set", of_plastimatch),
]
