"""What other programs read of p2sam's files, and p2sam of theirs. Outside CI.

    python -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    cargo build --release --bin p2sam --example masks
    PATH=venv/bin:$PATH python tests/interop/run.py [--write docs/compatibility.md]

plastimatch is Debian's. Without it, its rows are left out. The table holds what was seen in this run."""
import argparse
import datetime
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import written_by_others
import written_by_p2sam
from made import SIDE, all_series

ROOT = Path(__file__).parents[2]
# What the other program does with places that its files or its reader have no words for: told below the
# tables, and no failure of the run.
KNOWN = {
    ("dcmqi", "DICOM segmentation", "tilted 1.0"): "1",
    ("rt-utils", "structure set", "tilted 1.0"): "2",
    ("rt-utils", "structure set", "uneven 0.7"): "3",
}


def version(name):
    if name == "plastimatch":
        return subprocess.run([name, "--version"], capture_output=True, text=True).stdout.split()[-1]
    return importlib.metadata.version({"SimpleITK": "simpleitk"}.get(name, name))


def cell(places, wrong):
    if wrong:
        return f"{wrong} voxels differ"
    return "equal" if places <= 0.01 else f"equal, {places:.2f} mm"


def read(series, folder, file, masks):
    done = written_by_p2sam.run(masks, folder / "images", file)
    told = json.loads(done.stdout)
    found = numpy.zeros((len(series.mask), SIDE * SIDE), bool)
    for k, runs in enumerate(told["slices"]):
        if runs:
            found[k] = numpy.repeat(numpy.arange(len(runs)) % 2 == 1, runs)
    return 0.0, int((found.reshape(series.mask.shape) != series.mask).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--p2sam", type=Path, default=ROOT / "target/release/p2sam")
    parser.add_argument("--masks", type=Path, default=ROOT / "target/release/examples/masks")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    written, others = {}, {}
    names = []
    for series in all_series():
        names.append(series.name)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            series.write(folder / "images")
            found = written_by_p2sam.write(series, folder, args.p2sam)
            for program, kind, check in written_by_p2sam.CHECKS:
                attempt(written, program, kind, series, lambda: check(series, folder, found))
            for program, kind, write in written_by_others.WRITERS:
                def compared():
                    file = write(series, folder)
                    return None if file is None else read(series, folder, file, args.masks)
                attempt(others, program, kind, series, compared)
    text = page(names, written, others)
    print(text)
    if args.write:
        args.write.write_text(text)
    cells = [c for table in (written, others) for row in table.values() for c in row.values()]
    bad = [cell for cell in cells if ("differ" in cell or cell.startswith("fails")) and "(note" not in cell]
    sys.exit(len(bad) > 0)


def attempt(table, program, kind, series, check):
    row = table.setdefault((program, kind), {})
    if program == "plastimatch" and not shutil.which("plastimatch"):
        row[series.name] = "not installed"
        return
    try:
        result = check()
        row[series.name] = "-" if result is None else cell(*result)
    except Exception as error:  # What another program says is what the table is for.
        refused = "lie elsewhere than the images that they name" in str(error)
        row[series.name] = "refused" if refused else f"fails: {error}"[:90]
    note = KNOWN.get((program, kind, series.name))
    if note and "equal" not in row[series.name] and row[series.name] != "-":
        row[series.name] += f" (note {note})"
    print(series.name, program, kind, row[series.name], file=sys.stderr)


def rows(names, table):
    head = ["program", "file", *names]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (program, kind), row in table.items():
        lines.append("| " + " | ".join([f"{program} {version(program)}", kind, *(row[n] for n in names)]) + " |")
    return "\n".join(lines)


def page(names, written, others):
    today = datetime.date.today().isoformat()
    return f"""# What other programs read, and what is read of theirs

Seen on {today} by `tests/interop/run.py` with the versions below. The series are made: 96 x 96 pixels of 0.7 or
1 mm; straight, turned against the patient's axes, with a tilted gantry (17 degrees), with slices at 2.5 and 5 mm.
*equal*: every voxel is the same and lies within 0.01 mm. A distance behind it is the largest between a voxel of the
image and the voxel that stands for it in the file: p2sam moves the slices of a tilted gantry by whole pixels for
NIfTI, whose readers take no shear. A dash: the program's file cannot say it (slices of a tilted gantry or at two
distances are no grid).

## Written by p2sam, read by others
{rows(names, written)}

## Written by others, read by p2sam
{rows(names, others)}

## Notes
1. dcmqi makes a grid without shear of a tilted gantry's slices: it marks the same pixels, but puts them elsewhere.
2. rt-utils writes the contours of a tilted gantry's slices one straight above the other: they do not lie where the
   mask did, and nothing in the file tells.
3. rt-utils spreads contours evenly over slices at uneven distances (findings/rt-utils-spreads-contours-evenly.sh).
   They lie elsewhere than the images that they name, so p2sam refuses the file.
"""


if __name__ == "__main__":
    main()
