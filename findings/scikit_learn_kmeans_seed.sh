#!/usr/bin/env bash
# scikit-learn: KMeans with the same data, random_state and n_init gives other clusters from 1.3 on.
#
# P2SAM's parts are the centres of KMeans(n_clusters=k, init="k-means++", random_state=0). That the default of
# n_init went from 10 to 1 in 1.4 is well known. Easily missed is that n_init=1 does not bring 1.2 into
# agreement: since 1.3, which takes sample weights into the draws, the first centre is drawn by another call of
# the same generator even where there are no weights. A published seed names other clusters before and after.
#
# Needs Python 3.9 to 3.11, for which all four versions have wheels. Seen 2026-11-28 with Python 3.11:
#   1.2.2  default 344.5376 [72, 80, 78, 70]   n_init=1 348.7029 [99, 59, 55, 87]
#   1.3.2  default 342.6298 [76, 81, 65, 78]   n_init=1 347.1356 [84, 78, 67, 71]
#   1.4.2  default 347.1356 [84, 78, 67, 71]   n_init=1 347.1356 [84, 78, 67, 71]
#   1.5.2  default 347.1356 [84, 78, 67, 71]   n_init=1 347.1356 [84, 78, 67, 71]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/clusters.py" <<'PYTHON'
import warnings

import numpy
import sklearn
from sklearn.cluster import KMeans

warnings.simplefilter("ignore")
points = numpy.random.RandomState(7).rand(300, 16).astype(numpy.float32)
for name, options in ("default", {}), ("n_init=1", {"n_init": 1}):
    found = KMeans(n_clusters=4, init="k-means++", random_state=0, **options).fit(points)
    print(sklearn.__version__, name, f"{found.inertia_:.4f}", numpy.bincount(found.labels_).tolist())
PYTHON
for version in 1.2.2 1.3.2 1.4.2 1.5.2; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "scikit-learn==$version" numpy==1.26.4 scipy==1.13.1
    "$folder/$version/bin/python" "$folder/clusters.py"
done | tee "$folder/seen"
expect() {
    grep -qxF "$1" "$folder/seen" || { echo "no longer so: $1" >&2; exit 1; }
}
expect '1.2.2 n_init=1 348.7029 [99, 59, 55, 87]'
expect '1.3.2 n_init=1 347.1356 [84, 78, 67, 71]'
expect '1.3.2 default 342.6298 [76, 81, 65, 78]'
expect '1.4.2 default 347.1356 [84, 78, 67, 71]'
expect '1.5.2 default 347.1356 [84, 78, 67, 71]'
