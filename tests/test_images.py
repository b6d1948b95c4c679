"""Reading pictures: every mode becomes uint8 RGB, every broken file becomes one line."""

import errno
import io
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.archive import read_zipped
from data.images import list_pictures, open_picture, picture_size, read_picture, system_failed
from engine.errors import UserError

READERS = (read_picture, open_picture, picture_size)


def gradient(height=12, width=20) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([10 * x, 15 * y, 5 * (x + y)], -1).astype(np.uint8)


def save(path: Path, array, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def refusal(path, reader=read_picture) -> str:
    with pytest.raises(UserError) as caught:
        reader(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "gif"])
def test_lossless_formats(tmp_path, suffix):
    array = gradient() // 64 * 64  # few enough colours for a GIF
    path = save(tmp_path / f"a.{suffix}", array)
    read = read_picture(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)
    assert picture_size(path) == (20, 12)


def test_transparency_becomes_white(tmp_path):
    rgba = np.dstack([gradient(), np.zeros((12, 20), np.uint8)])
    rgba[:, 10:, 3] = 255
    rgba[:, 9] = (0, 0, 0, 128)
    read = read_picture(save(tmp_path / "a.png", rgba))
    assert (read[:, :9] == 255).all()
    assert (read[:, 9] == 127).all()
    np.testing.assert_array_equal(read[:, 10:], gradient()[:, 10:])

    grey = np.dstack([np.full((4, 4), 77), np.eye(4) * 255]).astype(np.uint8)
    read = read_picture(save(tmp_path / "la.png", grey))
    np.testing.assert_array_equal(read, np.where(np.eye(4) > 0, 77, 255)[..., None].repeat(3, -1))


def test_palette_and_its_transparent_entry(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    picture.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "clear.png", transparency=1)
    plain, clear = read_picture(tmp_path / "plain.png"), read_picture(tmp_path / "clear.png")
    assert plain.tolist() == [[[10, 20, 30], [200, 100, 0]], [[7, 8, 9], [200, 100, 0]]]
    assert clear.tolist() == [[[10, 20, 30], [255] * 3], [[7, 8, 9], [255] * 3]]
    assert open_picture(tmp_path / "plain.png").mode == "P"


def test_grey_and_one_bit(tmp_path):
    grey = gradient()[..., 0]
    np.testing.assert_array_equal(read_picture(save(tmp_path / "l.png", grey)), grey[..., None].repeat(3, -1))
    bits = read_picture(save(tmp_path / "1.png", grey > 90))
    np.testing.assert_array_equal(bits[..., 0], np.where(grey > 90, 255, 0))


def test_sixteen_bits_are_scaled(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535, 300]], np.uint16)
    assert read_picture(save(tmp_path / "a.png", values))[0, :, 1].tolist() == [0, 1, 128, 255, 1]
    assert read_picture(save(tmp_path / "a.tiff", values))[0, :, 1].tolist() == [0, 1, 128, 255, 1]
    wide = save(tmp_path / "i.tiff", values.astype(np.int32))
    assert read_picture(wide)[0, :, 1].tolist() == [0, 1, 128, 255, 1]


def test_sixteen_bit_rgb_png(tmp_path):
    cv2 = pytest.importorskip("cv2")
    values = (gradient()[..., ::-1].astype(np.uint16)) * 257
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", values)[1].tobytes())
    np.testing.assert_array_equal(read_picture(path), gradient())


def test_float_pictures(tmp_path):
    unit = save(tmp_path / "unit.tiff", np.array([[0, 0.5, 1, np.nan, -3]], np.float32))
    assert read_picture(unit)[0, :, 0].tolist() == [0, 128, 255, 0, 0]
    wide = save(tmp_path / "wide.tiff", np.array([[0, 128, 255]], np.float32))
    assert read_picture(wide)[0, :, 0].tolist() == [0, 128, 255]


def test_cmyk_jpeg(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - (200, 40, 40)).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_exif_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", gradient(), exif=exif, **lossless)
    shown = {  # EXIF 2.3, tag 0x0112: where row 0 and column 0 lie
        1: gradient(),
        2: gradient()[:, ::-1],
        3: gradient()[::-1, ::-1],
        4: gradient()[::-1],
        5: gradient().swapaxes(0, 1),
        6: np.rot90(gradient(), -1),
        7: np.rot90(gradient(), -1)[:, ::-1][::-1, ::-1],
        8: np.rot90(gradient()),
    }[orientation]
    np.testing.assert_array_equal(read_picture(path), shown)
    assert picture_size(path) == (shown.shape[1], shown.shape[0])


def test_broken_exif_does_not_cost_the_picture(tmp_path):
    path = save(tmp_path / "a.png", gradient(), exif=b"Exif\0\0no such thing")
    np.testing.assert_array_equal(read_picture(path), gradient())


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_one_pixel(tmp_path):
    assert read_picture(save(tmp_path / "a.png", gradient(1, 1))).shape == (1, 1, 3)


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_no_pictures(tmp_path, reader):
    assert "no such file" in refusal(tmp_path / "missing.png", reader)
    assert "folder" in refusal(tmp_path, reader)
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.png", reader)
    (tmp_path / "text.png").write_text("<html>404 not found</html>" * 20)
    assert "not a picture" in refusal(tmp_path / "text.png", reader)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_cut_off(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-700])
    assert "broken or cut off" in refusal(path)


def test_decompression_bomb(tmp_path, recwarn):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    for reader in READERS:
        line = refusal(tmp_path / "bomb.png", reader)
        assert "400 megapixels" in line and "make it smaller" in line
    assert not recwarn.list


def test_byte_soup_is_one_line_or_a_picture(tmp_path):
    rng = random.Random(0)
    sound = []
    for suffix in ("PNG", "JPEG", "WEBP", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray(gradient(40, 40)).save(buffer, suffix)
        sound.append(buffer.getvalue())
    path = tmp_path / "a.png"
    refused = 0
    for _ in range(300):
        soup = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 3, 30))):
            soup[rng.randrange(len(soup))] = rng.randrange(256)
        path.write_bytes(soup[: rng.choice((None, rng.randrange(1, len(soup))))])
        try:
            assert read_picture(path).dtype == np.uint8
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_list_pictures(tmp_path):
    for name in ("b.png", "a/z.JPG", "a.png", "B.webp", ".h.png", ".git/x.png", "notes.txt", "a/c/d.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert listed == ["B.webp", "a.png", "a/c/d.gif", "a/z.JPG", "b.png"]


def test_list_pictures_follows_links_once(tmp_path):
    save(tmp_path / "real.png", gradient())
    try:
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no right to make links")
    assert [path.name for path in list_pictures(tmp_path)] == ["real.png"]


def test_list_pictures_refuses(tmp_path):
    assert "no pictures inside" in refusal(tmp_path, list_pictures)
    assert "no such folder" in refusal(tmp_path / "missing", list_pictures)
    (tmp_path / "file").touch()
    assert "is a file" in refusal(tmp_path / "file", list_pictures)


NUMBERS = [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE, errno.ENOENT]


@pytest.mark.parametrize(
    "error", [*(OSError(number, os.strerror(number)) for number in NUMBERS), MemoryError()], ids=repr
)
def test_what_the_system_does_not_let_us_read_is_told_apart_from_broken_bytes(tmp_path, monkeypatch, error):
    path = tmp_path / "a.png"
    save(path, gradient())

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", fail)
        with pytest.raises(UserError) as caught:
            read_picture(path)
    assert system_failed(caught.value) and "broken" not in str(caught.value)
    zipfile.ZipFile(tmp_path / "a.zip", "w").write(path, "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, monkeypatch.context() as patch:
        patch.setattr(archive, "open", fail)
        with pytest.raises(UserError, match="a.zip/a.png: cannot be read") as caught:
            read_zipped(archive, "a.png")
    assert system_failed(caught.value)
    for data in (path.read_bytes()[:60], b"", b"hello"):
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            read_picture(path)
        assert not system_failed(caught.value)


def test_a_tiff_that_points_outside_of_itself_is_broken(tmp_path):
    """Its first directory at a negative place: reading there is an error of the system, EINVAL, by the bytes' fault."""
    (tmp_path / "a.tif").write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8)
    with pytest.raises(UserError) as caught:
        read_picture(tmp_path / "a.tif")
    assert not system_failed(caught.value)
