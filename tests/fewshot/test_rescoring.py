"""The second way to score an episode agrees with the first, and calls nobody beaten by rounding."""

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.rescoring import TIE, name_queries
from tests.helpers import rng


@pytest.fixture(scope="module")
def rows(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 2, 4, 6, 0).rows


@pytest.mark.parametrize("method", ["anrot", "prototypes", "cosine", "hela-vfa", "published", "variational"])
def test_it_counts_what_the_evaluation_counts(small_set, rows, method):
    net = create_net("tiny", method, generator=rng()).eval()
    episode = rows.to_episode(small_set)
    counted = [
        int(name_queries(net, episode.support[k], episode.query[k], episode.labels[k]).right.sum())
        for k in range(len(rows))
    ]
    assert counted == evaluation.Evaluator(net, small_set).count_clean(rows).tolist()


class Fixed(torch.nn.Module):
    """A net whose logits of the queries are given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits
        self.eval()

    def process_support_set(self, images, labels):
        assert labels.tolist() == [0, 0, 1, 1, 2, 2]

    def forward(self, queries):
        return self.logits


def test_a_query_must_be_beaten_by_more_than_rounding():
    little, much = 0.4 * TIE, 4 * TIE
    logits = torch.tensor(
        [[0, -1, -0.5], [-little, -1, 0], [-much, -1, 0], [0, -1, -little], [0, -1, -much], [-1, -1, 0]]
    ).double()
    named = name_queries(Fixed(logits), torch.zeros(3, 2, 1, 4, 4), torch.zeros(6, 1, 4, 4), torch.zeros(6).long())
    assert named.right.tolist() == [True, True, False, True, True, False]
    assert named.tied.tolist() == [False, True, False, True, False, False]


def test_a_net_in_train_mode_is_refused(small_net, small_set, rows):
    episode = rows[:1].to_episode(small_set)
    with pytest.raises(UserError, match="train mode"):
        name_queries(small_net.train(), episode.support[0], episode.query[0], episode.labels[0])
