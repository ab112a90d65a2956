"""Inputs that once gave a wrong number, or a traceback, without a word: each has a test of the right outcome."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
STRANGERS, HOSTILE, SEEN = "data/test_strangers_folders.py", "data/test_hostile_files.py", "data/test_seen.py"
REFUSALS, MAIN, FILES = "fewshot/test_refusals.py", "cli/test_main.py", "sabotage/test_files.py"

CASES = {
    "a set whose test classes trained the net, under other names": (
        f"{MAIN}::test_a_net_is_refused_on_classes_that_trained_it_and_marked_where_that_is_asked_for",
        f"{SEEN}::test_the_same_images_under_other_names_are_found_by_their_pixels",
    ),
    "one folder, prepared with two seeds": (
        f"{SEEN}::test_another_split_of_the_same_images_is_refused_with_numbers_and_names",
        f"{REFUSALS}::test_a_net_is_not_tested_on_another_split_of_its_images_unnoticed",
    ),
    "published splits that share classes": (f"{SEEN}::test_published_splits_overlap_as_known",),
    "a name that has another split already": (
        f"{STRANGERS}::test_a_set_with_another_split_is_not_replaced_unless_asked",
        "experiments/test_rows.py::test_a_record_of_another_split_recipe_or_net_is_never_overwritten",
    ),
    "Training and Testing with the same classes": (
        f"{STRANGERS}::test_classes_on_both_sides_of_a_split_are_refused_not_counted_twice",
    ),
    "parts of a split under other names": (
        f"{STRANGERS}::test_folders_of_a_split_are_known_by_their_usual_names",
        f"{STRANGERS}::test_a_split_that_cannot_be_read_is_refused_and_not_drawn",
    ),
    "class, session, image": (
        f"{STRANGERS}::test_twelve_objects_in_three_sessions_are_twelve_classes_in_one_part_each",
    ),
    "tiny-imagenet-200 as it comes": (f"{STRANGERS}::test_tiny_imagenet_is_read_with_its_annotations",),
    "lists of the owner's split": (
        f"{STRANGERS}::test_the_split_files_of_the_owner_are_read_in_every_usual_form",
        f"{STRANGERS}::test_a_split_file_that_is_not_understood_is_named_with_the_split_that_would_be_drawn",
    ),
    "Cars in folders 1 to 196": (
        "ranking/test_data.py::test_cars_in_class_folders_by_image_split",
        "ranking/test_data.py::test_halves_are_those_of_the_field",
    ),
    "Cat and cat, composed and decomposed letters": (f"{STRANGERS}::test_twin_folders_are_refused_and_both_named",),
    "a set called synthetic": (f"{STRANGERS}::test_the_name_of_the_embedded_set_is_reserved",),
    "support labels 1 to 5, with gaps, as floats": (
        f"{REFUSALS}::test_wrong_support_labels_are_one_error_in_every_head",
    ),
    "weights that are not finite": (
        f"{MAIN}::test_a_broken_net_is_one_sentence_and_the_good_record_stays",
        f"{REFUSALS}::test_a_net_with_broken_weights_has_no_accuracy",
    ),
    "a learning rate of a thousand": (
        "sabotage/test_alarms.py::test_a_learning_rate_of_a_thousand_stops_or_alarms",
        f"{REFUSALS}::test_a_net_that_answers_alike_whatever_it_sees_is_refused",
    ),
    "altered pixels, and a checkpoint with flipped bytes": (
        f"{HOSTILE}::test_changed_pixels_are_refused_and_unchanged_ones_hashed_once",
        f"{FILES}::test_flipped_cut_and_empty_checkpoints",
    ),
    "a bound episode under attacks of several steps and batches": (
        f"{REFUSALS}::test_a_bound_episode_goes_backward_as_often_as_an_attack_likes",
        "attacks/test_external.py::test_the_library_attacks_a_bound_net_in_several_steps_and_batches_as_we_do",
    ),
    "a net in train mode": (f"{REFUSALS}::test_a_net_in_train_mode_is_refused",),
    "a net of 32 px on images of 84 px": (
        f"{MAIN}::test_a_net_of_another_size_is_tested_with_a_note_and_in_the_caption",
    ),
    "a score of numbers out of their ranges": (
        "sabotage/test_options.py::test_a_score_is_of_ten_numbers_in_their_ranges",
    ),
    "labels that name no class, arrays that are no pixels": (
        f"{HOSTILE}::test_labels_that_name_no_class_are_refused",
        f"{HOSTILE}::test_negative_labels_of_tiered_archives_and_flat_arrays_are_refused",
        f"{HOSTILE}::test_arrays_that_are_no_pixels_are_bad_images",
    ),
    "three epochs of a batch sampler": (
        "data/test_episodes.py::test_every_epoch_of_a_data_loader_has_new_tasks_which_its_number_decides",
    ),
    "Hesim under wrappers of its library": (
        "sabotage/test_alarms.py::test_hesim_works_under_the_wrappers_of_its_library_by_the_name_of_its_kind",
    ),
    "names that lead out of the data folder": (
        f"{FILES}::test_names_never_lead_out_of_the_data_folder",
        f"{HOSTILE}::test_the_name_in_a_set_never_leads_out_of_the_data_folder",
    ),
    "--out on a photo": (f"{MAIN}::test_a_mistake_is_one_sentence_and_nothing_is_written",),
    "photos in folders of a class or of the query, files of other kinds": (
        "fewshot/test_prediction.py::test_photos_in_folders_of_the_query_are_named_with_their_folder",
        "fewshot/test_prediction.py::test_files_of_the_support_set_that_are_no_photos_are_said_to_be_passed_over",
    ),
    "HEIC": (
        f"{HOSTILE}::test_heic_photos_are_read",
        f"{HOSTILE}::test_without_the_library_a_heic_photo_is_named_with_what_to_install",
    ),
    "csv with backslashes, bare names, other separators and encodings": (
        f"{STRANGERS}::test_the_split_files_of_the_owner_are_read_in_every_usual_form",
        f"{STRANGERS}::test_a_latin_1_list_keeps_its_accents",
        f"{STRANGERS}::test_a_dry_run_refuses_the_missing_files_that_the_real_run_refuses",
        f"{STRANGERS}::test_a_table_that_is_not_understood_is_named_where_its_classes_are_missed",
    ),
    "too few classes, or images of a class": (
        "data/test_episodes.py::test_a_short_class_and_a_small_split_are_named_by_class_and_split",
        f"{MAIN}::test_a_mistake_is_one_sentence_and_nothing_is_written",
    ),
    "pictures that are merely alike": (
        "data/test_prepare.py::test_alike_pictures_are_counted_once_and_not_called_copies",
    ),
    "pipes, devices, bombs of nesting": (
        f"{STRANGERS}::test_what_is_no_regular_file_is_one_sentence_and_never_read",
        f"{HOSTILE}::test_a_hostile_pickle_is_refused_at_once",
        f"{HOSTILE}::test_a_pipe_in_the_place_of_a_pickle_is_not_waited_for",
        f"{FILES}::test_another_thing_in_the_place_of_a_file",
    ),
    "a wrong type in any field of any file": (
        f"{HOSTILE}::test_a_wrong_type_in_any_field_of_a_pickle_is_one_sentence",
        f"{HOSTILE}::test_odd_lists_are_one_sentence",
        f"{FILES}::test_every_field_of_a_set",
        f"{FILES}::test_every_field_of_a_few_shot_net",
        f"{FILES}::test_every_field_of_a_ranking_net",
        f"{FILES}::test_every_field_of_an_autoencoder",
        f"{FILES}::test_every_field_of_a_record",
    ),
    "pickles of MetaOptNet, HDF5, IDX files under other names": (
        f"{STRANGERS}::test_the_pickles_of_metaoptnet_are_read",
        f"{STRANGERS}::test_idx_files_are_read_with_dot_and_gz_and_in_a_folder_of_their_name",
        f"{STRANGERS}::test_forms_that_are_not_read_are_named_with_those_that_are",
    ),
    "line breaks and escape sequences in names": (
        f"{STRANGERS}::test_names_that_forge_lines_or_command_the_terminal_are_escaped",
        f"{MAIN}::test_what_was_typed_does_not_command_the_terminal",
    ),
    "dry runs of what the run refuses": (
        "sabotage/test_options.py::test_a_dry_run_refuses_what_the_run_refuses",
        f"{MAIN}::test_a_mistake_is_one_sentence_and_nothing_is_written",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_its_tests(case):
    for test in CASES[case]:
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE), test
