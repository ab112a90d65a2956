"""The capstone: who is admitted, when a net is beaten, and what is said when it is not."""

from dataclasses import replace

import numpy as np
import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.course import capstone, catalogue
from anrot_lib.data.embedded.names import open_embedded
from anrot_lib.data.leakage.seen import set_origin


def standing(clean, robust, half):
    flat = interval(np.array([0.5, 0.5]), bootstrap=False)
    return capstone.Standing(replace(flat, mean=clean), replace(flat, mean=robust, half_width=half), {})


@pytest.mark.parametrize(
    ("clean", "robust", "half", "said"),
    [
        (0.0, 5.0, 4.9, "beaten, by +5.0 ± 4.9 points under attack"),
        (-3.0, 5.0, 1.0, "beaten, by"),
        (-3.1, 40.0, 1.0, "not yet: clean accuracy is 3.1 points lower; at most 3 may go"),
        (9.0, 5.0, 5.0, "not yet: under attack the difference is +5.0 ± 5.0 points, which may be chance"),
        (0.0, -8.0, 1.0, "not yet: under attack"),
    ],
)
def test_a_verdict_asks_for_a_sure_gain_at_a_small_price(clean, robust, half, said):
    assert standing(clean, robust, half).verdict.startswith(said)


def test_without_a_net_the_task_is_told(capsys):
    capstone.score()
    said = capsys.readouterr().out
    assert said == (
        "Capstone: not attempted yet. The net to beat is 'mixture', under the worst case of aa-lite at eps 0.1 on 20 "
        "test episodes.\n"
    )


@pytest.mark.slow
def test_the_mixture_beats_the_clean_net_and_a_hidden_gradient_beats_nobody():
    beaten = capstone.compare("mixture", given="clean", tasks=4)
    assert beaten.verdict.startswith("beaten") and beaten.robust.mean > 20
    masked = catalogue.open_net("clean")
    masked.head.log_scale.data += np.log(10_000)
    hidden = capstone.compare(masked, given="clean", tasks=4)
    assert hidden.verdict.startswith("not yet: under attack") and hidden.clean.mean == 0


def test_who_has_seen_a_test_class_or_hides_its_origin_is_not_admitted(capsys):
    hiding, knowing = catalogue.open_net("mixture"), catalogue.open_net("mixture")
    origin, test_classes = knowing.origin, open_embedded("omniglot-300").split_names["test"]
    set_origin(hiding.backbone, None)
    set_origin(knowing.backbone, replace(origin, split_hash="another", trained=(*origin.trained, test_classes[0])))
    with pytest.raises(UserError, match="knows the test classes"):
        capstone.compare(knowing)
    with pytest.raises(UserError, match="does not say what trained it"):
        capstone.compare(hiding)
    with pytest.raises(UserError, match="yours was trained on 'synthetic', the given net on 'omniglot-300'"):
        capstone.compare("figures-mixture")
    capstone.score("figures-mixture")
    assert capsys.readouterr().out.startswith("Capstone: not admitted: yours was trained on 'synthetic'")
