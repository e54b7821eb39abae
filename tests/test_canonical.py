"""The canonical face: partners of the two halves keep their neighbours, and lips their rows."""

from __future__ import annotations

import numpy as np

from narrate_stream.lips import LOWER_LIP, UPPER_LIP
from narrate_stream.ops.canonical import canonical
from narrate_stream.retarget import LOWER_LIDS, UPPER_LIDS
from offline.canonical import mirror_index


def test_partners_are_mutual_and_keep_lips_and_lids_in_their_rows() -> None:
    mirror = canonical().mirror
    assert (mirror[mirror] == np.arange(478)).all()
    for row in (UPPER_LIP, LOWER_LIP):
        assert tuple(mirror[list(row)]) == row[::-1]
    for right, left in (UPPER_LIDS, LOWER_LIDS):
        assert tuple(mirror[list(right)]) == left
    assert tuple(mirror[[1, 4, 152, 61, 64, 129]]) == (1, 4, 152, 291, 294, 358)


def test_triangles_have_partners() -> None:
    face = canonical()
    known = {tuple(sorted(t)) for t in face.triangles.tolist()}
    lonely = [t for t in known if tuple(sorted(face.mirror[list(t)])) not in known]
    assert len(lonely) <= 12  # the detector's own mesh is not symmetric there


def test_the_shipped_partners_are_those_that_are_found() -> None:
    face = canonical()
    assert (mirror_index(face.landmarks, face.triangles) == face.mirror).all()
