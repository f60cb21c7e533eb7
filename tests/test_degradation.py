"""RQ1: which scales small images get, the check on the paper profile, and what the sheets show."""

import pytest
import torch

from blurnb.errors import UserError
from blurnb.recognition import datasets, models
from blurnb.study import degradation, evaluation, profiles


def dataset(native_side):
    return datasets.Dataset("planted", ("a", "b"), ("x",), (0,), lambda i: torch.rand(3, 40, 40), native_side, "f")


def test_small_images_keep_their_side_and_photographs_get_the_scales():
    assert degradation.scales_for(dataset(None), ["128", "256+512"]) == ["128", "256+512"]
    assert degradation.scales_for(dataset(64), ["128", "256", "512"]) == ["64"]
    assert degradation.scales_for(dataset(64), ["64", "96", "64+96"]) == ["64", "96", "64+96"]
    assert degradation.scales_for(dataset(64), ["native"]) == ["64"]
    with pytest.raises(UserError, match="'native' means nothing"):
        degradation.scales_for(dataset(None), ["native"])


def test_another_frame_is_said_in_the_name_of_the_data():
    assert degradation.dataset_label(dataset(64), evaluation.Protocol()) == "planted"
    assert degradation.dataset_label(dataset(64), evaluation.Protocol(frame=128)) == "planted, frame 128"


@pytest.mark.parametrize("hit, said", [(True, "Check passed"), (False, "CHECK FAILED")])
def test_the_paper_profile_checks_itself_against_published_accuracy(hit, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path))
    monkeypatch.setattr(degradation, "PAPER_CHECK", {"top1": 1.0, "top5": 1.0, "n": 4, "tolerance": 0.002})
    classes = tuple(str(i) for i in range(1000))
    images = datasets.Dataset(
        "imagenet", classes, tuple("abcd"), (7 if hit else 8,) * 4, lambda i: torch.rand(3, 300, 280), None, "f"
    )
    body = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1000))
    with torch.no_grad():
        body[2].weight.zero_()
        body[2].bias.copy_(torch.arange(1000) == 7)
    network = models.Network("vgg16", body, 1000).eval()
    parameters = profiles.validate("rq1", {"profile": "paper", "data_root": str(tmp_path)})
    pair = {"network": "vgg16", "weights": "imagenet"}
    degradation._check_against_torchvision(pair, images, network, parameters)
    assert said in capsys.readouterr().out


def test_the_sheet_shows_each_example_under_each_blur():
    parameters = profiles.validate("rq1", {"profile": "smoke"})
    sheet, rows, columns = degradation.examples(parameters, "foolbox20", count=2)
    assert (len(sheet), len(rows), columns) == (2, 2, parameters.blurs)
    assert all(image.shape == (256, 256, 3) for line in sheet for image in line)
    sharp, soft = sheet[0][0], sheet[0][columns.index("D8")]
    assert abs(soft.mean() - sharp.mean()) < 0.01
    assert soft.std() < sharp.std()


def test_imagenet_weights_are_not_asked_about_other_classes(tmp_path):
    parameters = profiles.validate("rq1", {"dataset": "scenes", "network": "efficientnet_lite0", "weights": "imagenet"})
    with pytest.raises(UserError, match="answer 1,000 classes, scenes has 12"):
        degradation.run(parameters)
