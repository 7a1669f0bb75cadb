import numpy as np
import pytest
from driver import fired, prepared
from image_source import MAX_PIXELS, ImageSource
from PIL import Image
from vehicle_renderer import render_vehicle

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
TOKEN = "uint8[1,8,8,3]"


@pytest.fixture
def show(tmp_path, tokens):
    """Saves an image and gives what the source makes of it."""

    def run(image, name="a.png", token=TOKEN, **options):
        image.save(tmp_path / name, **options)
        [written] = tokens(ImageSource(str(tmp_path / name)), token)
        return written

    return run


def flat(mode, colour, size=(8, 8)):
    return Image.new(mode, size, colour)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (flat("RGB", RED), RED),
        (flat("L", 100), (100, 100, 100)),
        (flat("1", 1), WHITE),
        (flat("RGBA", (*RED, 255)), RED),
        (flat("RGBA", (*RED, 0)), WHITE),
        (flat("LA", (0, 0)), WHITE),
        (flat("RGB", BLUE).convert("P"), BLUE),
        (flat("RGB", GREEN, (1, 1)), GREEN),
        (flat("RGB", GREEN, (3000, 7)), GREEN),
        (Image.fromarray(np.full((8, 8), 0x80FF, np.uint16)), (128, 128, 128)),
    ],
    ids=["rgb", "grey", "bits", "rgba", "transparent", "grey transparent", "palette", "tiny", "wide", "16 bits"],
)
def test_every_mode_and_size_becomes_the_token(show, image, colour):
    written = show(image)
    assert written.shape == (1, 8, 8, 3)
    assert (written == np.array(colour, np.uint8)).all()


def test_a_transparent_palette_colour_is_white(show):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0] + [0, 0, 0] * 255)
    assert (show(image, transparency=0) == 255).all()


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 100}), ("a.bmp", {}), ("A.PNG", {})])
def test_the_three_formats(show, name, options):
    assert np.abs(show(flat("RGB", (90, 140, 200)), name, **options).astype(int) - (90, 140, 200)).max() <= 3


def test_a_cmyk_jpeg(show):
    assert np.abs(show(flat("CMYK", (0, 255, 255, 0)), "a.jpg", quality=100)[0, 4, 4].astype(int) - RED).max() <= 12


def test_a_large_photograph_is_turned_as_its_camera_was_held(show):
    image = flat("RGB", BLUE, (400, 200))
    image.paste(RED, (0, 0, 200, 200))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show": left becomes top
    written = show(image, "a.jpg", "uint8[1,8,4,3]", exif=exif)
    assert written[0, 0, 1, 0] > 200
    assert written[0, 7, 1, 2] > 200


def test_rows_are_height_and_columns_width(show):
    image = flat("RGB", BLUE, (20, 10))
    image.paste(RED, (0, 0, 20, 5))  # the upper half
    written = show(image, token="uint8[4,8,3]")
    assert (written[0] == RED).all()
    assert (written[3] == BLUE).all()


def test_grey_tokens(show):
    assert show(flat("RGB", WHITE), token="uint8[1,8,8,1]").shape == (1, 8, 8, 1)


def test_float_tokens_are_0_to_1(show):
    assert (show(flat("RGB", (255, 51, 0)), token="float32[1,8,8,3]")[0, 0, 0] == np.float32([1, 0.2, 0])).all()


def test_mean_and_std_one_for_all_or_one_a_channel(tmp_path, tokens):
    flat("RGB", (255, 0, 0)).save(tmp_path / "a.png")
    [written] = tokens(ImageSource(str(tmp_path), mean="0.5", std="0.5"), "float32[1,8,8,3]")
    assert (written[0, 0, 0] == [1, -1, -1]).all()
    [written] = tokens(ImageSource(str(tmp_path), mean="0.5,0,1", std="0.5,1,2"), "float32[1,8,8,3]")
    assert (written[0, 0, 0] == [1, 0, -0.5]).all()


def test_int8_tokens_are_the_values_less_128(show):
    assert (show(flat("RGB", (255, 128, 0)), token="int8[1,8,8,3]")[0, 0, 0] == [127, 0, -128]).all()


def test_planes(show, tokens, tmp_path):
    """Channels first: each channel is a plane, with and without the 1 in front."""
    image = flat("RGB", BLUE, (8, 4))
    image.paste(RED, (0, 0, 8, 2))  # the upper half
    for token in ("uint8[1,3,4,8]", "uint8[3,4,8]", "float32[1,3,4,8]"):
        written = show(image, token=token).reshape(3, 4, 8)
        largest = 1 if token.startswith("float") else 255
        assert (written[:, 0, 0] == np.array(RED) / 255 * largest).all()
        assert (written[:, 3, 7] == np.array(BLUE) / 255 * largest).all()


@pytest.mark.parametrize(
    ("token", "scale", "zero_point"),
    [("uint8[1,8,8,3]", 1 / 64, 100), ("int8[1,8,8,3]", 2 / 255, 0), ("int8[1,8,8,3]", 0.02, -20)],
)
def test_with_a_scale_integers_stand_for_what_float_tokens_would_be(tmp_path, tokens, token, scale, zero_point):
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    normalized = {"mean": "0.5,0.4,0.3", "std": "0.5,0.6,0.7"}
    [real] = tokens(ImageSource(str(tmp_path), **normalized), "float32[1,8,8,3]")
    quantized = {"scale": repr(scale), "zero_point": str(zero_point)}
    [written] = tokens(ImageSource(str(tmp_path), **normalized, **quantized), token)
    limits = np.iinfo(written.dtype)
    expected = np.clip(np.rint(real.astype(float) / scale) + zero_point, limits.min, limits.max)
    assert (written == expected).all()


def test_several_ports_carry_the_same(tmp_path):
    flat("RGB", RED).save(tmp_path / "a.png")
    source = prepared(ImageSource(str(tmp_path)), {}, {"one": TOKEN, "two": TOKEN})
    written = fired(source)
    assert (written["one"] == RED).all()
    assert (written["two"] == RED).all()


def test_a_rendered_vehicle_saved_as_png_comes_back_bit_for_bit(show):
    frame = render_vehicle(1, 2)
    image = Image.fromarray(np.rint(frame * 255).astype(np.uint8))
    assert np.array_equal(show(image, token="float32[1,96,96,3]")[0], frame)


@pytest.fixture
def folder(tmp_path):
    """Three images, one of them broken, and files that are none."""
    flat("RGB", RED).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("I am no image.")
    flat("RGB", BLUE).save(tmp_path / "c.jpeg", quality=100)
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "d.png").mkdir()
    return tmp_path


def test_a_folder_is_read_in_the_order_of_names(folder, tokens):
    (folder / "b.png").unlink()
    assert [token[0, 0, 0, 0] > 200 for token in tokens(ImageSource(str(folder)), TOKEN)] == [True, False]


def test_a_pattern_and_repeat(folder, tokens):
    assert len(tokens(ImageSource(f"{folder}/[ac].*", repeat="3"), TOKEN)) == 6
    assert len(tokens(ImageSource(f"{folder}/a.*", repeat="0"), TOKEN, limit=20)) == 20


def test_a_file_that_is_no_image_ends_the_run_and_is_named(folder, tokens):
    with pytest.raises(ValueError, match=r"b.png: cannot be read as an image: not a PNG, JPEG or BMP file"):
        tokens(ImageSource(str(folder)), TOKEN)


def test_or_is_skipped_with_a_note(folder, tokens, capsys):
    assert len(tokens(ImageSource(str(folder), on_error="skip", repeat="2"), TOKEN)) == 4
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1  # the second pass says it no more
    assert notes[0].startswith("Input: skipped: ")
    assert "b.png" in notes[0]


@pytest.mark.parametrize("repeat", ["0", "1"])
def test_where_every_file_is_skipped_the_run_fails(tmp_path, tokens, repeat):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"none of 1 files could be read: .*a.png"):
        tokens(ImageSource(str(tmp_path), on_error="skip", repeat=repeat), TOKEN)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_an_image_that_is_cut_short_is_named(tmp_path, tokens, name, kept):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ValueError, match=rf"{name}: cannot be read as an image"):
        tokens(ImageSource(str(path)), TOKEN)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, tokens):
    path = tmp_path / "bomb.png"
    side = int(MAX_PIXELS**0.5) + 1
    flat("1", 0, (side, side)).save(path)
    with pytest.raises(ValueError, match=rf"bomb.png: .*{side}x{side} pixels are more than"):
        tokens(ImageSource(str(path)), TOKEN)


def test_other_formats_are_not_opened(tmp_path, tokens):
    flat("RGB", RED).save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"a.gif: cannot be read as an image: not a PNG, JPEG or BMP file"):
        tokens(ImageSource(str(tmp_path / "a.gif")), TOKEN)


def test_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no images in this folder \(.png, .jpg, .jpeg, .bmp\)"):
        ImageSource(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder"):
        ImageSource(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"\*.png: no such file or folder, and no files of that pattern"):
        ImageSource(str(tmp_path / "*.png"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"repeat": "twice"}, r"repeat='twice': expected a whole number"),
        ({"mean": "half"}, r"mean='half': expected a number"),
        ({"std": "0"}, r"std='0': must not be 0"),
        ({"std": "inf"}, r"std='inf': expected a number"),
        ({"on_error": "ignore"}, r"on_error='ignore': expected stop or skip"),
    ],
)
def test_bad_parameters_are_named(folder, parameters, message):
    with pytest.raises(ValueError, match=message):
        ImageSource(str(folder), **parameters)


@pytest.mark.parametrize(
    ("token", "parameters", "message"),
    [
        ("float32[1,100]", {}, r"port 'out': float32\[1, 100\] is not an image"),
        ("int64[1,8,8,3]", {}, r"is not an image"),
        ("float32[2,8,8,3]", {}, r"is not an image"),
        ("float32[8,8,4]", {}, r"is not an image"),
        ("float32[1,8,8,1]", {"mean": "1,2,3"}, r"mean: 3 numbers for 1 channels"),
        ("uint8[1,8,8,3]", {"std": "2"}, r"mean and std are for float tokens"),
    ],
)
def test_tokens_that_do_not_fit_are_named(folder, tokens, token, parameters, message):
    with pytest.raises(ValueError, match=message):
        tokens(ImageSource(str(folder), **parameters), token)


def said(source, tokens):
    notes = []
    source.tell = notes.append
    return len(tokens(source, TOKEN)), notes


def test_names_that_begin_with_a_dot_are_no_pictures(tmp_path, tokens):
    flat("RGB", RED).save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"\x00\x05\x16\x07 what macOS writes beside it")
    (tmp_path / ".hidden.jpg").touch()
    assert said(ImageSource(str(tmp_path)), tokens) == (1, [])


def test_pictures_of_other_kinds_are_left_out_with_one_note(tmp_path, tokens):
    flat("RGB", RED).save(tmp_path / "a.png")
    for name in ("b.HEIC", "c.webp", "labels.csv", "._d.heic"):
        (tmp_path / name).touch()
    count, (note,) = said(ImageSource(str(tmp_path), repeat="2"), tokens)
    assert count == 2
    assert note == "left out: 2 files (b.HEIC, c.webp): not .png, .jpg, .jpeg, .bmp"


def test_what_is_skipped_is_said_at_once_and_summed_up_once(tmp_path, tokens):
    flat("RGB", RED).save(tmp_path / "z.png")
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"none")
    count, notes = said(ImageSource(str(tmp_path), on_error="skip", repeat="3"), tokens)
    assert count == 3
    first, last = notes
    assert "a.png: cannot be read as an image" in first
    assert last == "skipped in all: 4 files (a.png, b.png, c.png, ...) of 5"
