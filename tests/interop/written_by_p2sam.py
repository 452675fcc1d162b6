"""What p2sam writes, read by others: each check returns how far places differ, mm, and how many voxels."""
import json
import subprocess

import highdicom
import nibabel
import numpy
import pydicom
import SimpleITK
from made import SIDE
from PIL import Image
from pycocotools.coco import COCO


def run(*line, **more):
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, **more)
    if done.returncode:
        raise RuntimeError(f"{line[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done


def write(series, folder, p2sam):
    """Runs p2sam on a series; what it found, slice by slice, is what its PNG masks say."""
    middle = len(series.mask) // 2
    Image.fromarray(series.mask[middle]).save(folder / "reference.png")
    run(p2sam, "track", folder / "images", "--reference", folder / "reference.png", "--reference-frame", middle,
        "--weights", "polyp", "--profile", "fast", "--n", "1", "--input-side", "128", "--seg", folder / "seg.dcm",
        "--nifti", folder / "mask.nii.gz", "--masks", folder / "masks", "--coco", folder / "coco.json")
    files = [folder / f"masks/{k:06}.png" for k in range(len(series.mask))]
    found = numpy.stack([numpy.asarray(Image.open(file)) > 0 for file in files])
    assert found.any(), "nothing was found"
    return found


def by_pydicom(series, folder, found):
    data = pydicom.dcmread(folder / "seg.dcm")
    frames = data.pixel_array.reshape(-1, SIDE, SIDE)
    apart, wrong, seen = 0.0, 0, set()
    for frame, groups in zip(frames, data.PerFrameFunctionalGroupsSequence):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        k = [image.SOPInstanceUID for image in series.images].index(source)
        place = numpy.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        apart = max(apart, numpy.linalg.norm(place - series.origins[k]))
        wrong += int((frame.astype(bool) != found[k]).sum())
        seen.add(k)
    missing = sum(int(found[k].sum()) for k in range(len(found)) if k not in seen)
    return apart, wrong + missing


def by_highdicom(series, folder, found):
    data = highdicom.seg.segread(folder / "seg.dcm")
    uids = [image.SOPInstanceUID for image in series.images]
    pixels = data.get_pixels_by_source_instance(source_sop_instance_uids=uids, segment_numbers=[1],
                                                assert_missing_frames_are_empty=True)[..., 0]
    wrong = int((pixels.astype(bool) != found).sum())
    if "uneven" in series.name or "tilted" in series.name:
        # There is no volume of equal steps at right angles.
        return 0.0, wrong
    volume = data.get_volume(segment_numbers=[1])
    marked = numpy.argwhere(volume.array[..., 0] if volume.array.ndim == 4 else volume.array)
    return compare(series, found, marked @ volume.affine[:3, :3].T + volume.affine[:3, 3])


def compare(series, found, places):
    """Places of marked voxels against those of the voxels that were found; more or fewer are wrong."""
    true = numpy.concatenate([series.places(k)[found[k]] for k in range(len(found))])
    if len(true) != len(places):
        return float("nan"), abs(len(true) - len(places))
    from scipy.spatial import cKDTree
    apart = cKDTree(places).query(true)[0]
    return float(apart.max()), int((apart > 0.71 * series.pixel + 0.01).sum())


def by_dcmqi(series, folder, found):
    out = folder / "dcmqi"
    out.mkdir(exist_ok=True)
    run("segimage2itkimage", "--inputDICOM", folder / "seg.dcm", "--outputDirectory", out, "--outputType", "nii")
    (file,) = sorted(out.glob("*.nii.gz"))
    return by_simpleitk(series, folder, found, file)


def by_simpleitk(series, folder, found, file=None):
    image = SimpleITK.ReadImage(str(file or folder / "mask.nii.gz"))
    return compare_image(series, found, image)


def compare_image(series, found, image):
    array = SimpleITK.GetArrayFromImage(image)
    index = numpy.argwhere(array > 0)[:, ::-1]
    direction = numpy.array(image.GetDirection()).reshape(3, 3) * numpy.array(image.GetSpacing())
    places = index @ direction.T + numpy.array(image.GetOrigin())
    if "uneven" in series.name:
        # Slices are repeated; every voxel that was found must be marked where it lies.
        wrong = 0
        for k, mask in enumerate(found):
            for place, on in zip(series.places(k)[::3, ::3].reshape(-1, 3), mask[::3, ::3].ravel()):
                at = image.TransformPhysicalPointToIndex(place.tolist())
                inside = all(0 <= a < s for a, s in zip(at, image.GetSize()))
                wrong += bool(inside and array[at[::-1]]) != bool(on)
        return 0.0, wrong
    return compare(series, found, places)


def by_nibabel(series, folder, found):
    image = nibabel.load(folder / "mask.nii.gz")
    affine = numpy.diag([-1, -1, 1, 1]) @ image.affine
    index = numpy.argwhere(numpy.asarray(image.dataobj) > 0)
    if "uneven" in series.name:
        inverse = numpy.linalg.inv(affine)
        data, wrong = numpy.asarray(image.dataobj), 0
        for k, mask in enumerate(found):
            places = series.places(k).reshape(-1, 3)
            at = numpy.rint(places @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
            inside = ((at >= 0) & (at < data.shape)).all(1)
            read = numpy.zeros(len(at), bool)
            read[inside] = data[tuple(at[inside].T)] > 0
            wrong += int((read != mask.ravel()).sum())
        return 0.0, wrong
    return compare(series, found, index @ affine[:3, :3].T + affine[:3, 3])


def by_plastimatch(series, folder, found):
    out = folder / "plastimatch.mha"
    run("plastimatch", "convert", "--input", folder / "mask.nii.gz", "--output-img", out)
    return by_simpleitk(series, folder, found, out)


def by_pycocotools(series, folder, found):
    coco = COCO(str(folder / "coco.json"))
    wrong = 0
    read = numpy.zeros_like(found)
    for k, image in enumerate(sorted(coco.dataset["images"], key=lambda image: image["id"])):
        for annotation in coco.imgToAnns[image["id"]]:
            read[k] |= coco.annToMask(annotation).astype(bool)
    wrong = int((read != found).sum())
    return 0.0, wrong


CHECKS = [
    ("pydicom", "DICOM segmentation", by_pydicom),
    ("highdicom", "DICOM segmentation", by_highdicom),
    ("dcmqi", "DICOM segmentation", by_dcmqi),
    ("SimpleITK", "NIfTI", by_simpleitk),
    ("nibabel", "NIfTI", by_nibabel),
    ("plastimatch", "NIfTI", by_plastimatch),
    ("pycocotools", "COCO", by_pycocotools),
]
