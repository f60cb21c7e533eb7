"""How images are shown and answered: each fact a column."""

from blurnb import records
from blurnb.study.protocol import Protocol


def test_every_field_is_a_column_of_its_own_name_and_type():
    columns = Protocol(frame=64, border="circular", flip=True, seed=5).columns()
    assert columns == {
        "frame": 64, "border": "circular", "resample": "bicubic", "view": "dense", "flip": True,
        "precision": "float32", "seed": 5,
    }  # fmt: skip
    kinds = {"whole": int, "text": str, "yes": bool}
    assert {name: kinds[records.ANSWERS[name]] for name in columns} == {n: type(v) for n, v in columns.items()}


def test_two_protocols_are_two_keys_so_they_are_never_averaged():
    assert set(Protocol().columns()) <= set(records.key(records.ANSWERS))
