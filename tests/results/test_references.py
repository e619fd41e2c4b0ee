"""Published numbers: each with its place, none dressed as measured."""

from __future__ import annotations

import pytest

from torchstone.results import Kind, RecordError
from torchstone.results.references import NOTICE, TAGS, Reference, blocks, markdown, parse, references

HEADER = (
    "model,metric,printed,kind,unit,dataset,variant,split,examples,dequantisation,estimator,conditional,augmentation,"
    "source,tag,note\n"
)
LINE = (
    "VDVAE,bits_per_dim,2.87,<=,bits/dim,CIFAR-10,8-bit,test,10000,none,ELBO,no,,openai/vdvae @ ea35b490 : README.md,P,"
)


def changed(old: str, new: str) -> str:
    assert old in LINE
    return HEADER + LINE.replace(old, new, 1) + "\n"


def named(model: str, metric: str = "bits_per_dim", dataset: str = "CIFAR-10") -> Reference:
    (found,) = [r for r in references() if (r.model, r.metric, r.dataset) == (model, metric, dataset)]
    return found


def test_the_shipped_numbers_are_what_was_read():
    assert named("VDVAE").value == 2.87 and named("VDVAE").kind is Kind.UPPER_BOUND
    assert "2.879, 2.842, 2.898, 2.864" in named("VDVAE").note
    assert named("PixelCNN++").value == 2.92 and named("PixelCNN++").kind is Kind.EXACT
    assert named("VDM", dataset="ImageNet 64x64").value == 3.40
    assert named("VDM + augmentation").augmentation is True
    assert named("ADM-G", "recall", "ImageNet 256x256").value == 0.52
    assert named("DINO (ViT-B/8)", "knn_accuracy", "ImageNet-1k").value == 77.4
    assert named("EDM", "fid").tag == "S+P"


def test_digits_are_kept_as_published():
    assert named("FFJORD").text == "≤ 3.40"
    assert named("PixelRNN").text == "3.00"


def test_none_is_shipped_that_was_only_remembered_and_each_says_where_it_was_read():
    assert len(references()) > 100
    for each in references():
        assert each.tag in TAGS and each.source
        if "P" in each.tag:
            repository, _, rest = each.source.partition(" @ ")
            assert repository.count("/") == 1 and " : " in rest
        else:
            assert each.source.startswith("secondary copy")


def test_a_block_has_one_contract_and_the_best_first():
    for block in blocks(references()):
        assert all(row.contract == dict(block.contract) for row in block.rows)
        values = [row.value if not row.higher_is_better else -row.value for row in block.rows]
        assert values == sorted(values)
    captions = [block.caption for block in blocks(references())]
    assert len(set(captions)) == len(captions)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Flow++ (uniform dequantisation)", "Flow++ (variational dequantisation)"),
        ("VDM (open code)", "VDM + augmentation (open code)"),
        ("PixelCNN++", "VDVAE"),
    ],
)
def test_numbers_that_mean_different_things_stand_apart(one, other):
    (block,) = [block for block in blocks(references()) if named(one) in block.rows]
    assert named(other) not in block.rows


def test_conditional_and_unconditional_numbers_stand_apart():
    both = [block for block in blocks(references()) if "StyleGAN2-ADA" in {row.model for row in block.rows}]
    assert {block.contract["conditional"] for block in both} == {True, False}


def test_the_old_and_the_newer_imagenet_stand_apart():
    variants = {r.variant for r in references() if r.dataset == "ImageNet 32x32"}
    assert len(variants) == 2
    for block in blocks(references()):
        assert len({row.variant for row in block.rows}) == 1


def test_the_page_says_that_none_was_measured_and_shows_the_tags():
    text = markdown(references())
    assert text.startswith(NOTICE) and "never ranked with measured ones" in NOTICE
    assert "| VDVAE | ≤ 2.87 | P | openai/vdvae @ ea35b490 : README.md |" in text
    assert all(meaning in text for meaning in TAGS.values())


def test_a_name_is_text_in_the_page():
    hostile = parse(changed("VDVAE", "<script>alert(1)</script> | [x](y)"))
    assert "<script>" not in markdown(hostile).replace("\\<script>", "")
    assert "\\|" in markdown(hostile) and "\\[x](y)" in markdown(hostile)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("bits_per_dim", "bpd", "its metric 'bpd' is none of bits_per_dim"),
        ("2.87", "2,87", "too many"),
        ("2.87", "nan", "'nan' is not one in decimal digits"),
        ("<=", ">=", "'>=' is none of '=', '<=', '~'"),
        ("bits/dim,", "nats,", "its unit 'nats' is not 'bits/dim'"),
        ("10000", "many", "invalid literal"),
        ("10000", "0", "its examples are 0"),
        (",no,", ",maybe,", "'maybe' is none of"),
        (",P,", ",M,", "its tag 'M' is none of P, S, S+P"),
        ("openai/vdvae @ ea35b490 : README.md", "the README", "of the form repository @ commit : file"),
        ("openai/vdvae @ ea35b490 : README.md", " ", "it has no source"),
        ("VDVAE", "", "it has no model"),
        (",P,", ",P", "too few"),
    ],
)
def test_a_damaged_line_is_named(old, new, sentence):
    with pytest.raises(RecordError) as error:
        parse(changed(old, new))
    assert str(error.value).startswith("references.csv, line 2: ") and sentence in str(error.value)


def test_a_number_given_twice_is_refused():
    with pytest.raises(RecordError, match="line 3: 'VDVAE' is there under this contract already"):
        parse(HEADER + LINE + "\n" + LINE.replace("2.87", "2.80") + "\n")


def test_columns_that_are_not_the_schema_are_refused():
    with pytest.raises(RecordError, match="its columns are"):
        parse(HEADER.replace("printed", "value") + LINE + "\n")


def test_a_reference_cannot_be_made_wrong():
    with pytest.raises(RecordError, match="reference 'x': its tag 'M'"):
        Reference(
            "x", "fid", "1.0", Kind.ESTIMATE, "squared distance", "d", "", "", None, "", "", None, None, "memory", "M"
        )
