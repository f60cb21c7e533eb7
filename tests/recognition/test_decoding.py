"""Every kind of image file is decoded, upright and in range, or named in one line."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blurnb.errors import UserError
from blurnb.recognition.decoding import UnreadableImage, decode
from faults import formats, pictures
from faults.outside import strangers


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def ramp(high: int = 255, kind=np.uint8) -> np.ndarray:
    return np.linspace(0, high, 64 * 48).reshape(48, 64).astype(kind)


def test_grey_becomes_three_equal_channels():
    found = decode(saved(Image.fromarray(ramp())))
    assert found.shape == (3, 48, 64)
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(ramp() / np.float32(255)).expand(3, -1, -1))


def test_sixteen_bit_grey_keeps_its_values():
    found = decode(saved(Image.fromarray(ramp(65535, np.uint16))))
    assert np.allclose(found[1].numpy(), ramp(65535, np.uint16) / 65535, atol=1e-6)
    assert len(found.unique()) > 256


def test_float_pixels_are_those_from_0_to_1(tmp_path):
    grey = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    assert np.array_equal(decode(saved(Image.fromarray(grey), "TIFF"))[2].numpy(), grey)
    for strange in (grey * 255, grey * 3 - 1, np.where(grey < 0.5, grey, np.nan), np.where(grey < 0.5, grey, np.inf)):
        for form in ("TIFF", "PPM"):
            Image.fromarray(strange.astype(np.float32)).save(tmp_path / "a", form)
            with pytest.raises(UnreadableImage, match="a has float pixels from .*; scale them to 0 to 1, all finite"):
                decode(tmp_path / "a")


def test_pixels_of_which_the_file_does_not_say_what_is_white_are_refused():
    whole = np.linspace(0, 65535, 48 * 64).reshape(48, 64)
    for values in (whole.astype(np.int32), (whole // 2).astype(np.int16), whole.astype(np.uint32)):
        samples = values[..., None]
        kind = 2 if values.dtype.kind == "i" else 1
        with pytest.raises(
            UnreadableImage, match="pixels of mode I, whose white or clear is not known; save it as 8 bit"
        ):
            decode(formats.tiff(samples, values.itemsize * 8, kind))
    for camera in (1023, 4095, 16383):
        deep = Image.fromarray((whole * camera / 65535).astype(np.uint16))
        for form in ("PNG", "TIFF"):
            with pytest.raises(UnreadableImage, match="of its 16 bits, as cameras of 10 to 14 bits do"):
                decode(saved(deep, form))
    assert decode(saved(Image.fromarray(np.zeros((9, 9), np.uint16)))).max() == 0  # black is black in any range


def test_every_format_depth_colour_model_and_orientation_is_decoded_right_or_refused_by_name():
    cases = list(formats.cases())
    assert len(cases) > 500
    assert [wrong for case in cases if (wrong := strangers.wrong_pixels(case))] == []


def test_damage_in_any_of_them_is_refused_or_stays_in_range():
    sample = [data for _, data, _ in list(formats.cases())[::9]]
    found = [strangers.wrong_after_damage(data, len(data) * part // 7) for data in sample for part in (2, 4, 6)]
    assert [wrong for wrong in found if wrong] == []


def test_wrong_pixels_would_be_seen():
    name, data, pixels = next(iter(formats.cases()))
    assert strangers.wrong_pixels((name, data, 1 - pixels)).endswith("other pixels")
    assert strangers.wrong_pixels((name, data, "refused")).endswith("accepted")
    assert "refused, " in strangers.wrong_pixels((name, data[:50], pixels))


def test_bilevel_pixels():
    found = decode(saved(Image.fromarray(ramp() > 100)))
    assert set(found.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode):
    base = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    base.paste((0, 0, 255, 0), (0, 0, 4, 8))
    base.paste((0, 0, 0, 128), (4, 0, 6, 8))
    if mode == "P":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([9, 9, 9, 255, 0, 0, 0, 0, 255])
        image.paste(0, (0, 0, 4, 8))
        found = decode(saved(image, transparency=0))
        assert torch.equal(found[:, 0, 7], torch.tensor([1.0, 0, 0]))
    else:
        found = decode(saved(base.convert(mode)))
        assert torch.allclose(found[:, 0, 5], torch.full((3,), 127 / 255), atol=0.01)
    assert torch.equal(found[:, :, :4], torch.ones(3, 8, 4))


def test_palette_colours():
    image = Image.new("P", (5, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    assert torch.allclose(decode(saved(image))[:, 2, 2] * 255, torch.tensor([10.0, 200, 30]))


def test_cmyk_print_colours():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan: red
    red, green, blue = decode(saved(image, "JPEG", quality=95))[:, 4, 4].tolist()
    assert red > 0.9
    assert max(green, blue) < 0.1


@pytest.mark.parametrize("orientation, turn", [(3, 2), (6, -1), (8, 1)])
def test_photographs_stand_upright(orientation, turn):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255
    exif = Image.Exif()
    exif[274] = orientation
    found = decode(saved(Image.fromarray(pixels), "PNG", exif=exif))
    upright = np.rot90(pixels, turn).transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(found.numpy(), upright)


def test_a_progressive_jpeg_of_odd_size():
    assert decode(saved(Image.fromarray(ramp()[:47, :63]), "JPEG", progressive=True)).shape == (3, 47, 63)


def test_one_pixel_is_an_image():
    assert decode(saved(Image.new("RGB", (1, 1), "white"))).tolist() == [[[1.0]]] * 3


def broken_files(at: Path) -> dict[str, Path]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    whole = saved(noise, "JPEG")
    contents = {
        "truncated.jpg": whole[: len(whole) // 2],
        "header only.jpg": whole[:30],
        "empty.jpg": b"",
        "text.jpg": b"404: Not Found\n",
        "page.jpg": b"<html><body>sign in first</body></html>",
        "zeros.png": bytes(500),
        "half.png": saved(noise)[:9000],
        "strip.png": saved(Image.new("RGB", (20000, 1))),
        "pole.png": saved(Image.new("RGB", (1, 20000))),
        "bomb.png": saved(Image.new("1", (15000, 15000))),
        "small bomb.png": saved(Image.new("1", (10000, 10000))),
        "fotografía rota.jpg": whole[:-200],
    }
    for name, content in contents.items():
        (at / name).write_bytes(content)
    (at / "folder.jpg").mkdir()
    return {name: at / name for name in [*contents, "folder.jpg", "gone.jpg"]}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_whole_image_is_named_in_one_line(tmp_path):
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(UnreadableImage) as caught:
            decode(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_decoding_in_threads_leaves_the_warnings_as_they_were(tmp_path):
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(path)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [path] * 200))
    assert warnings.filters == before


def test_a_message_about_a_file_with_a_line_end_in_its_name_is_one_line(tmp_path):
    (tmp_path / "a\nb.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImage) as caught:
        decode(tmp_path / "a\nb.png")
    assert "a\\nb.png is not a whole image" in str(caught.value)


def test_a_flipped_bit_in_a_png_is_no_image(tmp_path):
    file = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    for place in range(60, len(whole) - 20, 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UnreadableImage, match="a.png is not a whole image"):
            decode(file)
    file.write_bytes(whole)
    assert torch.equal(decode(file), torch.from_numpy(noise).permute(2, 0, 1).float() / 255)


def test_every_kind_of_file_is_tried_wherever_it_stands_in_the_list(tmp_path):
    for suffix, options in {"png": {}, "bmp": {}, "tif": {}, "webp": {"lossless": True}, "ppm": {}, "gif": {}}.items():
        file = tmp_path / f"a.{suffix}"
        Image.new("RGB", (20, 20), "red").save(file, **options)
        assert decode(file)[:, 3, 3].tolist() == [1, 0, 0]


def test_an_image_beyond_the_budget_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were made"))
    (tmp_path / "a.png").write_bytes(pictures.png_of(9000, 8000))
    with pytest.raises(UnreadableImage, match=r"a.png is too large \(9000 x 8000 pixels\).*BLURNB_MEGAPIXELS"):
        decode(tmp_path / "a.png")
    tile = [(322, "I", (60_000,)), (323, "I", (60_000,))]  # made whole, were the image a pixel
    with pytest.raises(UnreadableImage, match="too large"):
        decode(formats.tiff(formats.ramp(255), 8, more=tile))
    monkeypatch.undo()
    noise = saved(Image.fromarray(np.zeros((1100, 1000), np.uint8)))
    assert decode(noise).shape == (3, 1100, 1000)
    monkeypatch.setenv("BLURNB_MEGAPIXELS", "1")
    with pytest.raises(UnreadableImage, match="too large"):
        decode(noise)
    monkeypatch.setenv("BLURNB_MEGAPIXELS", "many")
    with pytest.raises(UserError, match="BLURNB_MEGAPIXELS=many: give") as caught:
        decode(noise)
    assert not isinstance(caught.value, UnreadableImage)  # a mistake in the parameter skips no image


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for path in tmp_path.iterdir():
        with pytest.raises(UnreadableImage, match=path.name):
            decode(path)


def test_what_is_said_of_a_file_is_the_same_each_time():
    said = set()
    for _ in range(2):
        with pytest.raises(UnreadableImage) as caught:
            decode(b"no image at all" * 9)
        said.add(str(caught.value))
    assert said == {"image is not a whole image (cannot identify image file)"}
