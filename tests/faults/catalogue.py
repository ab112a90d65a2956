"""The list: module -> (text that occurs once, what is planted for it, tests that must turn red[, excuse])."""

# ruff: noqa: E501 - one fault a line
# fmt: off

FAULTS: dict[str, list[tuple[str, ...]]] = {
    "core/groups.py": [
        ("buffer.copy_(start)", "pass", "core/test_ranks.py::test_a_step_is_the_mean_over_its_groups_each_with_its_own_batch_statistics"),
        ("ranks.gather_rows(rows).mean(0)", "ranks.gather_rows(rows).sum(0)", "core/test_ranks.py::test_a_step_is_the_mean_over_its_groups_each_with_its_own_batch_statistics"),
    ],
    "core/torchrun.py": [
        ('get("WORLD_SIZE", "1")', 'get("LOCAL_WORLD_SIZE", "1")', "cli/test_ranks.py::test_a_verb_that_several_processes_cannot_share_says_so"),
    ],
    "core/ranks.py": [
        ("torch.stack(parts, 1).flatten(0, 1)", "torch.stack(parts).flatten(0, 1)", "core/test_ranks.py::test_processes_take_the_groups_in_turns_and_gather_them_in_order"),
        ("range(self.number, pieces, self.count)", "range(self.number, pieces)", "core/test_ranks.py::test_processes_take_the_groups_in_turns_and_gather_them_in_order"),
        ("missing = [name for name in parts if name not in known]", "missing = [name for name in parts if name not in store]", "core/test_ranks.py::test_each_part_is_measured_once_by_one_process_that_did_not_find_it"),
    ],
    "core/statistics.py": [
        ("betaincinv(np.maximum(hits, 1), n - hits + 1, alpha)", "betaincinv(np.maximum(hits, 1), np.maximum(n - hits, 1), alpha)", "fewshot/test_smoothing.py::test_radii_by_hand"),
        ("level: float = 0.975", "level: float = 0.95", "core/test_statistics.py::test_the_interval_of_a_share_is_that_of_its_hits"),
        ("stdtrit(n - 1, level)", "stdtrit(n, level)", "core/test_statistics.py::test_the_t_interval_is_scipys"),
        ("sd = values.std(ddof=1)", "sd = values.std()", "core/test_statistics.py::test_the_t_interval_is_scipys"),
        ("t_quantile(n) * sd / n**0.5", "t_quantile(n) * sd / (n - 1) ** 0.5", "core/test_statistics.py::test_the_t_interval_is_scipys"),
        ("[2.5, 97.5]", "[5, 95]", "core/test_statistics.py::test_the_interval_covers_the_mean_95_times_in_100"),
        ("per_cent * (100 - per_cent) / n", "per_cent * 100 / n", "core/test_statistics.py::test_the_interval_of_a_share_is_that_of_its_hits"),
        ("counts / len(values), size", "np.ones(len(counts)) / len(counts), size", "core/test_statistics.py::test_the_bootstrap_is_a_resampling_of_episodes"),
        ('(seed, "bootstrap")', '(0, "bootstrap")', "core/test_statistics.py::test_the_bootstrap_repeats_by_seed_alone"),
        ("interval(second - first, seed", "interval(first - second, seed", "core/test_statistics.py::test_paired_differences_are_second_minus_first"),
        ("interval(second - first, seed", "interval(np.sort(second) - np.sort(first), seed", "core/test_statistics.py::test_paired_differences_are_second_minus_first"),
        ("float(2 * stdtr(", "float(stdtr(", "core/test_statistics.py::test_the_paired_p_is_scipys"),
        ("(m - rank) * p_values[k]", "p_values[k]", "core/test_statistics.py::test_holm_by_hand"),
        ("np.maximum.accumulate(raised) if m", "raised if m", "core/test_statistics.py::test_holm_by_hand"),
        ("(1.96 * sd / half_width) ** 2", "1.96 * sd / half_width", "core/test_statistics.py::test_tasks_for_a_precision_give_that_precision"),
        ("(x[-1] - x[0]))", "len(x))", "core/test_statistics.py::test_the_area_is_the_mean_height"),
        ("/ k**2 + image_variance)", "/ k**2)", "records/test_answers.py::test_a_record_holds_the_answers_of_clean_images_and_of_pgd"),
        ("half = np.argsort(rng.random((IMAGE_DRAWS, len(members))), axis=1)[:, : -(-len(members) // 2)]", "half = rng.integers(len(members), size=(IMAGE_DRAWS, -(-len(members) // 2)))", "records/test_answers.py::test_the_variance_of_images_is_that_of_a_mean_over_other_images"),
        ("max(spread, 0.0) / k + covariance.sum()", "covariance.sum()", "reports/test_review.py::test_the_open_interval_covers_the_population_where_the_closed_one_does_not"),
        ("- (np.trace(covariance) - covariance.sum() / k) / (k - 1)", "", "reports/test_review.py::test_without_a_spread_of_classes_both_are_about_equal"),
    ],
    "core/randomness.py": [
        ('f"{int(seed)}/{name}"', 'f"{name}"', "core/test_randomness_and_paths.py::test_the_raw_stream_is_the_one_of_the_first_release"),
        ('f"{int(seed)}/{name}"', 'f"{int(seed)}"', "core/test_randomness_and_paths.py::test_the_raw_stream_is_the_one_of_the_first_release"),
        ("digest[:8]", "digest[:1]", "core/test_randomness_and_paths.py::test_the_raw_stream_is_the_one_of_the_first_release"),
    ],
    "core/checks.py": [
        ("low >= -slack and high", "low >= -1.0 and high", "core/test_checks.py::test_anything_else_is_refused_with_the_reason"),
        ("images.shape[-3] not in (1, 3)", "images.shape[-1] not in (1, 3)", "core/test_checks.py::test_images_pass_unchanged"),
    ],
    "core/palette.py": [
        ('GREY = "#767676"', 'GREY = "#999999"', "core/test_palette.py::test_a_mark_stands_out_from_paper_and_letters_even_more"),
        ("return (high + 0.05) / (low + 0.05)", "return (high + 0.05) / (low + 0.5)", "core/test_palette.py::test_contrast_is_that_of_wcag"),
    ],
    "reports/alt_text.py": [
        ("_format(x[y.argmax()])", "_format(x[y.argmin()])", "reports/test_alt_text.py::test_lines_are_told_from_their_ends_and_extremes"),
        ("abs(place - middle), default=None", "abs(place + middle), default=None", "reports/test_alt_text.py::test_bars_have_the_names_of_their_ticks"),
    ],
    "course/displays.py": [
        ('return data, {PNG: {"alt": text}}', "return data, {}", "course/test_displays.py::test_a_built_notebook_holds_one_png_with_its_text"),
    ],
    "publish/citations.py": [
        ("if address and count[name] == 1]", "if address]", "publish/test_citations.py::test_what_is_code_a_link_or_not_certain_stays"),
    ],
    "publish/frames.py": [
        ("for name in reversed(kept):", "for name in list(kept):", "publish/test_frames.py::test_of_many_states_the_last_sliders_keep_their_start"),
    ],
    "publish/website.py": [
        ("if problems.getvalue():", "if not problems:", "publish/test_website.py::test_a_warning_of_sphinx_is_an_error"),
    ],
    "core/units.py": [
        ("float(top) / float(bottom or 1)", "float(top)", "cli/test_main.py::test_eps_is_a_number_or_a_fraction"),
    ],
    "core/configs.py": [
        ("sort_keys=True).encode()", "sort_keys=True)[:40].encode()", "experiments/test_rows.py::test_equal_settings_have_equal_keys"),
    ],
    "core/resumable.py": [
        ("if self.recipe_type is None or", "if True or", "core/test_resumable.py::test_a_checkpoint_from_before_a_field_of_the_recipe_goes_on_where_that_has_its_default"),
        ("if settings != self.settings:", "if settings.keys() != self.settings.keys():", "core/test_resumable.py::test_a_checkpoint_of_other_settings_is_refused_or_replaced"),
        ("optimizer.zero_grad(set_to_none=True)", "pass", "core/test_resumable.py::test_a_kill_at_any_step_changes_no_bit"),
        ("if not math.isfinite(loss):", "if math.isinf(loss):", "core/test_resumable.py::test_a_loss_that_is_not_finite_stops_before_the_weights"),
    ],
    "core/devices.py": [
        ('enabled=precision == "bf16"', "enabled=True", "core/test_devices.py::test_autocast_does_what_it_says"),
    ],
    "core/trees.py": [
        ("t.index_select(0, rows) if t.ndim", "t.index_select(0, rows - rows + rows[0]) if t.ndim", "attacks/test_episode.py::test_rows_are_picked_through_a_whole_pytree"),
    ],
    "fewshot/collapse.py": [
        ("(logits[:, :1], logits[..., :1])", "(logits[:, :1] + 1,)", "fewshot/test_refusals.py::test_a_net_that_answers_alike_whatever_it_sees_is_refused"),
        ("any(alike)", "not any(alike)", "fewshot/test_refusals.py::test_a_net_that_answers_alike_whatever_it_sees_is_refused"),
    ],
    "experiments/testing_time.py": [
        ("* len(rows) / len(few)", "* 1.0", "experiments/test_estimates.py::test_the_estimate_of_a_test_is_what_the_test_takes"),
        ("(share if ends_early else 1)", "share", "experiments/test_estimates.py::test_the_estimate_before_training_takes_the_usual_part_of_the_steps_on_queries_alone"),
        ("tasks // ONE_IN", "tasks", "experiments/test_estimates.py::test_one_episode_in_fifty_is_tried"),
    ],
    "experiments/ranking_time.py": [
        ("return 1 + -(-epochs // every)", "return 1 + epochs // every", "experiments/test_estimates.py::test_a_ranking_model_is_tested_at_the_beginning_at_its_epochs_and_last"),
    ],
    "data/readers/tables.py": [
        ("len(parts) > 1 and None not in parts", "len(parts) > 3", "data/test_strangers_folders.py::test_a_split_file_that_is_not_understood_is_named_with_the_split_that_would_be_drawn"),
    ],
    "data/episodes.py": [
        ("if len(places) == largest.size * k:", "if len(places) >= largest.size * k:", "data/test_episodes.py::test_equal_keys_still_give_distinct_positions"),
        ("if counts.min() < table.shape[1]:", "if False:", "data/test_episodes.py::test_every_task_is_well_formed"),
        ("rows[..., : self.n_shot], rows[..., self.n_shot :]", "rows[..., : self.n_shot], rows[..., : self.n_query]", "data/test_episodes.py::test_every_task_is_well_formed"),
        ("bits.advance(start * stride)", "bits.advance(start // BLOCK * BLOCK * stride)", "data/test_episodes.py::test_a_slice_of_the_draw_is_the_draw_of_the_slice"),
        ("bits.advance(start * stride)", "bits.advance(0)", "data/test_episodes.py::test_a_slice_of_the_draw_is_the_draw_of_the_slice"),
        ("np.uint64(2**64 - 1), image_keys)", "np.uint64(0), image_keys)", "data/test_episodes.py::test_every_task_is_well_formed"),
        ("(self.seed, self.stream)", "(0, self.stream)", "data/test_episodes.py::test_seeds_and_streams_are_independent"),
        ("(self.seed, self.stream)", '(self.seed, "episodes")', "data/test_episodes.py::test_seeds_and_streams_are_independent"),
        ("need = self.n_shot + self.n_query", "need = max(self.n_shot, self.n_query)", "data/test_episodes.py::test_a_short_class_is_named"),
        ("self.query[:, :, :n_query]", "self.query[:, :, -n_query:]", "data/test_episodes.py::test_the_support_set_does_not_depend_on_the_number_of_queries"),
        ("repeat_interleave(n_query).expand", "repeat(n_query).expand", "data/test_episodes.py::test_an_episode_holds_the_images_of_its_rows"),
        ("return self._tasks(epoch * self.n_tasks)", "return self._tasks(0)", "data/test_episodes.py::test_every_epoch_of_a_data_loader_has_new_tasks_which_its_number_decides"),
        ("for array in self.rows.arrays():", "for array in self.rows.arrays()[:2]:", "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ("for array in self.rows.arrays():", "for array in self.rows.arrays()[1:]:", "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ('f"{self.image_set_hash}/{self.split}"', 'f"{self.split}"', "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ('f"{self.image_set_hash}/{self.split}"', 'f"{self.image_set_hash}"', "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ("rows=image_set.rows(split),", "", "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ("return f\"manifest-{split}\"", "return \"manifest\"", "data/test_episodes.py::test_the_stream_is_the_one_of_the_first_release"),
        ("rows[order]\n", "np.sort(rows)\n", "data/test_episodes.py::test_every_task_is_well_formed"),
    ],
    "data/image_set.py": [
        ("permute(0, 3, 1, 2)", "permute(0, 3, 2, 1)", "data/test_image_set.py::test_batch_has_the_shape_of_its_rows_and_values_in_0_1"),
        ("pixels.div_(255)", "pixels.div_(256)", "data/test_image_set.py::test_batch_has_the_shape_of_its_rows_and_values_in_0_1"),
        ("np.isin(self.labels, self.splits[split])", "np.isin(self.labels, self.splits[split][1:])", "data/test_image_set.py::test_rows_of_a_split_are_its_images_in_ascending_order"),
        ("compute_hash(images, self.labels, self.class_names))\n\n    def batch", "self.sha256)\n\n    def batch", "data/test_prepare.py::test_a_perturbed_copy_keeps_labels_and_tells_its_source"),
        ("if c in seen:", "if c in seen and split == seen[c]:", "data/test_image_set.py::test_a_damaged_set_is_refused_with_what_is_wrong"),
    ],
    "data/packed.py": [
        ("(class_names[c], digest) for c", "(class_names[0], digest) for c", "data/test_image_set.py::test_hash_is_blind_to_the_order_of_images_and_of_classes"),
        ('hashlib.sha256(f"{image.shape}".encode())', "hashlib.sha256()", "data/test_image_set.py::test_hash_sees_a_pixel_a_label_a_class_name_and_the_shape"),
        ("np.ascontiguousarray(image).data", "np.ascontiguousarray(image[0]).data", "data/test_image_set.py::test_hash_sees_a_pixel_a_label_a_class_name_and_the_shape"),
        ("in sorted(pairs)", "in pairs", "data/test_image_set.py::test_hash_is_blind_to_the_order_of_images_and_of_classes"),
    ],
    "data/splits.py": [
        ("if split_hash(split) != record", "if not record", "data/test_splits.py::test_an_altered_class_list_is_refused"),
        ('raw(seed, "split", len(names))', 'raw(0, "split", len(names))', "data/test_splits.py::test_a_drawn_split_is_the_same_on_every_machine"),
        ("order[n_train + n_val :]", "order[n_train:]", "data/test_splits.py::test_a_drawn_split_holds_every_class_once_whatever_their_order"),
        ("zip(words, names, strict=True)", "zip(words, class_names, strict=True)", "data/test_splits.py::test_a_drawn_split_holds_every_class_once_whatever_their_order"),
        ("fractions: Sequence[float] = (0.64, 0.16, 0.20)", "fractions: Sequence[float] = (0.64, 0.20, 0.16)", "data/test_splits.py::test_a_split_is_drawn_64_16_20_unless_asked_otherwise"),
    ],
    "data/noise.py": [
        ('(seed, f"noise/{row}")', '(seed, "noise")', "fewshot/test_evaluation.py::test_noise_differs_between_images"),
        ("* noise.to(images.device)).clamp_(0, 1)", "* noise.to(images.device)).clamp_(min=0)", "data/test_noise.py::test_moments_are_those_of_the_censored_normal"),
        ("* noise.to(images.device)).clamp_(0, 1)", "* noise.to(images.device))", "data/test_noise.py::test_moments_are_those_of_the_censored_normal"),
        ("torch.randn(images.shape, generator", "torch.randn((1, *images.shape[-2:]), generator", "data/test_noise.py::test_zero_sigma_changes_nothing_and_each_image_has_its_own"),
        ("(sigma, images) * noise", "(sigma, images) ** 2 * noise", "data/test_noise.py::test_moments_are_those_of_the_censored_normal"),
        ("low + (high - low) * draws", "low + 0 * draws", "data/test_noise.py::test_sigma_is_drawn_for_each_image_in_its_range"),
        ("images.shape[:-3], generator", "images.shape[:-4] + (1,), generator", "data/test_noise.py::test_sigma_is_drawn_for_each_image_in_its_range"),
        ("2 * x * sigma * edges", "x * sigma * edges", "data/test_noise.py::test_moments_are_those_of_the_censored_normal"),
    ],
    "data/augmentation.py": [
        ("images.flip(-1), images)", "images.flip(-2), images)", "data/test_augmentation.py::test_flip_mirrors_half_of_the_images"),
        ("images.rot90(3,", "images.rot90(2,", "data/test_augmentation.py::test_rotations_are_by_90_and_270_degrees_only"),
        ("weight = 1 - box.to", "weight = box.to", "data/test_augmentation.py::test_mixing_accounts_for_every_image"),
        ("torch.lerp(others, images, weight", "torch.lerp(images, others, weight", "data/test_augmentation.py::test_mixing_accounts_for_every_image"),
        ("labels.gather(-1, order)", "labels", "data/test_augmentation.py::test_mixing_accounts_for_every_image"),
        ("return view(images, generator), view(images, generator)", "return (view(images, generator),) * 2", "data/test_augmentation.py::test_two_views_differ_from_each_other"),
        ("-0.5 * (offsets / strength) ** 2", "-0.5 * (offsets * strength) ** 2", "data/test_augmentation.py::test_blur_is_a_convolution_with_a_gaussian_of_its_sigma"),
        ("images = AUGMENTATIONS[name](images, generator)", "images = AUGMENTATIONS[names[0]](images, generator)", "data/test_augmentation.py::test_a_pipeline_runs_its_parts_in_order_from_one_generator"),
    ],
    "data/preparation/perturbed.py": [
        (".mul(255).round()", ".mul(255)", "data/test_prepare.py::test_what_is_stored_is_rounded_and_checked_against_eps"),
        ("change > eps + 0.5 * GREY_LEVEL + 1e-6", "change > 2 * eps + 0.5 * GREY_LEVEL + 1e-6", "data/test_prepare.py::test_what_is_stored_is_rounded_and_checked_against_eps"),
        (".permute(0, 2, 3, 1)", ".permute(0, 3, 2, 1)", "data/test_prepare.py::test_a_perturbed_copy_keeps_labels_and_tells_its_source"),
        ("image_set.labels[rows]).to(device)", "image_set.labels[rows - rows[0]]).to(device)", "data/test_prepare.py::test_a_perturbation_may_ask_for_the_labels"),
    ],
    "data/leakage/guard.py": [
        ("bool(a != b and min(a, b) >= 0)", "bool(a != b and min(a, b) > 0)", "data/test_guard.py::test_identical_images_are_paired_with_the_one_that_stays"),
        ("key=lambda row: rank[str(split_of_image[row])]) for p", "key=lambda row: -rank[str(split_of_image[row])]) for p", "data/test_guard.py::test_identical_images_are_paired_with_the_one_that_stays"),
        ("if counts[c] < needed", "if counts[c] < needed - 1", "data/test_guard.py::test_too_few_images_or_classes_are_named"),
        ("for p in pairs if p.across]", "for p in pairs if p.across and p.same_class]", "data/test_guard.py::test_identical_images_are_paired_with_the_one_that_stays"),
        ("keys[a].keys() & keys[b].keys()", "set() & keys[b].keys()", "data/test_guard.py::test_an_overlapping_split_is_an_error_that_names_the_class"),
        ("gone = np.union1d(gone, np.flatnonzero(rows))", "gone = np.flatnonzero(rows)", "data/test_guard.py::test_a_quarantine_holds_copies_and_small_classes_together"),
        ('if mode == "quarantine" else np.empty(0, np.int64)', 'if mode == "other" else np.empty(0, np.int64)', "data/test_guard.py::test_a_copy_across_splits_is_an_error_that_names_both_images"),
    ],
    "data/leakage/candidates.py": [
        ("keep[order[place < most]] = True", "keep[order[place < most - 1]] = True", "data/test_near_copies.py::test_all_pairs_are_the_best_of_each_image"),
        ("return odd.abs().add_(rows", "return odd.clone().add_(rows", "data/test_near_copies.py::test_all_pairs_are_the_best_of_each_image"),
        ("floors[0][pairs.first]) | (", "floors[0][pairs.first]) & (", "data/test_near_copies.py::test_pairs_that_are_dropped_on_the_way_are_not_missed"),
        ("last = order[place == most - 1]", "last = order[place == most - 2]", "data/test_near_copies.py::test_pairs_that_are_dropped_on_the_way_are_not_missed"),
        ("last = order[place == most - 1]", "last = order[place == -1]", "data/test_near_copies.py::test_pairs_that_are_dropped_on_the_way_are_not_missed"),
        ("some[1][order] == 0", "some[1][order] >= 0", "data/test_near_copies.py::test_a_visit_to_some_cells_finds_most_at_a_part_of_the_work"),
        ("if number % ranks.count != ranks.number:", "if number % ranks.count == ranks.number:", "data/test_near_copies.py::test_all_pairs_are_the_best_of_each_image"),
    ],
    "data/leakage/seen.py": [
        ("kind := words.split()[-1]", "kind := words", "data/test_seen.py::test_a_kind_under_another_name_is_said"),
        ("if not NUMBERED.fullmatch(kind :=", "if (kind :=", "data/test_seen.py::test_a_kind_under_another_name_is_said"),
        (" if other != words]", "]", "data/test_seen.py::test_a_class_that_is_known_is_not_called_close"),
        ("while seen := find_seen(origin, image_set):", "if seen := find_seen(origin, image_set):", "data/test_seen.py::test_what_is_known_again_only_beside_fewer_classes_is_left_out_too"),
        ("for key in some if key in WORDS", "for key in some if key in WORDS and not some", "data/test_seen.py::test_a_class_is_known_again_under_a_usual_other_spelling"),
        ('"" if origin.data == image_set.name else', '"" if origin.data else', "data/test_seen.py::test_a_set_that_was_split_anew_is_not_recommended_to_its_own_net"),
        ('for split in ("train", "val") if split', 'for split in ("train",) if split', "data/test_seen.py::test_another_split_of_the_same_images_is_refused_with_numbers_and_names"),
        ("if seen and not allow_seen:", "if not allow_seen and seen.trained:", "data/test_seen.py::test_a_net_is_refused_on_the_classes_that_only_selected_it"),
        ("np.isin(digest_rows(image_set.images, rows), origin.images).sum()", "0", "data/test_seen.py::test_another_split_of_the_same_images_is_refused_with_numbers_and_names"),
    ],
    "divergences/gaussian.py": [
        ("VARIANCE_FLOOR = 0.05", "VARIANCE_FLOOR = 0.005", "divergences/test_gaussian.py::test_one_sample_has_the_floor_as_variance"),
        (".square().mean(axis) + floor", ".square().mean(axis).clamp_min(floor)", "divergences/test_gaussian.py::test_moments_are_those_of_numpy"),
        ("(parts.var + (parts.mean - mean).square())", "parts.var", "divergences/test_gaussian.py::test_pooled_maps_are_all_their_positions_together"),
        ("(weights * (samples - mean).square()).sum(axis) + floor", "(weights * (samples - mean).square()).sum(axis)", "divergences/test_gaussian.py::test_weighted_moments_are_those_of_repeated_samples"),
        ("maps.flatten(-2), floor=floor, axis=-1", "maps.flatten(-2), floor=floor, axis=-2", "divergences/test_gaussian.py::test_maps_are_samples_by_position"),
        ("weights / weights.sum(-1, keepdim=True)", "weights / weights.sum(-2, keepdim=True)", "divergences/test_gaussian.py::test_weighted_moments_are_those_of_repeated_samples"),
        ("return value.float()", "return value", "divergences/test_gaussian.py::test_half_precision_is_lifted_and_double_kept"),
    ],
    "divergences/diagonal.py": [
        ("mul_(0.5 / s).div_(t)", "mul_(1.0 / s).div_(t)", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("(a + b).mul_(4)).sum(-1)", "(a + b).mul_(2)).sum(-1)", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("log1p_().mul_(0.5)", "log1p_()", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("0.25 * (tilt.sum(-2) / a - bend.sum(-2))", "0.25 * (tilt.sum(-2) / a + bend.sum(-2))", "divergences/test_measures.py::test_gradcheck_gaussians"),
        ("-0.5 * pull.sum(-3)", "0.5 * pull.sum(-3)", "divergences/test_measures.py::test_gradcheck_gaussians"),
        ("(p.mean - q.mean).square() / q.var)", "(p.mean - q.mean).square() / p.var)", "divergences/test_measures.py::test_to_standard_is_the_general_form_at_the_standard_normal"),
        ("_excess(p.var, q.var)", "_excess(q.var, p.var)", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("(p.var.sqrt() - q.var.sqrt()).square()", "(p.var - q.var).square()", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("torch.cat([q.mean, q.var.sqrt()], -1)).square()", "torch.cat([q.mean, q.var.sqrt()], -1))", "divergences/test_measures.py::test_stated_values_between_gaussians"),
        ("p.map(lambda t: t.unsqueeze(-2)), q.map(lambda t: t.unsqueeze(-3))", "p.map(lambda t: t.unsqueeze(-3)), q.map(lambda t: t.unsqueeze(-2))", "divergences/test_measures.py::test_kl_is_that_of_torch_distributions"),
    ],
    "divergences/measures.py": [
        ("growth - log_var)", "growth + log_var)", "divergences/test_measures.py::test_stated_values_to_the_standard_normal"),
        ("torch.expm1(0.5 * log_var).square()", "torch.expm1(log_var).square()", "divergences/test_measures.py::test_stated_values_to_the_standard_normal"),
        ("(4 * (log_var.exp() + 1))", "(2 * (log_var.exp() + 1))", "divergences/test_measures.py::test_stated_values_to_the_standard_normal"),
        ("0.5 * (divergence(p, q) + divergence(q, p).mT)", "divergence(p, q) + divergence(q, p).mT", "divergences/test_full.py::test_one_dimension"),
    ],
    "divergences/stable.py": [
        ("return _root(_hellinger2(bhattacharyya))", "return _hellinger2(bhattacharyya)", "divergences/test_measures.py::test_stated_values_to_the_standard_normal"),
        ("torch.where(zero, 1.0, x).sqrt()", "x.sqrt()", "divergences/test_measures.py::test_equality_is_exactly_zero_with_zero_gradient"),
    ],
    "divergences/simplex.py": [
        (".abs() / math.sqrt(2)", ".abs()", "divergences/test_measures.py::test_summands_sum_to_the_whole"),
        ("p * _excess(q, p)", "q * _excess(q, p)", "divergences/test_measures.py::test_stated_values_between_probabilities"),
    ],
    "divergences/full.py": [
        ("trace - p.mean.shape[-1] + logs", "trace + logs", "divergences/test_full.py::test_one_dimension"),
        ("distance / 8 + 0.5 * middle - 0.25 * logs", "distance / 8 + 0.5 * middle - 0.5 * logs", "divergences/test_full.py::test_one_dimension"),
        ("square().sum(-2).mT", "square().sum(-2).mT / 2", "divergences/test_full.py::test_one_dimension"),
    ],
    "divergences/covariance.py": [
        ("(total - 1 if unbiased else total)", "total", "divergences/test_covariance.py::test_plain_moments"),
        ("alpha * trace / c + FLOOR", "alpha * trace + FLOOR", "divergences/test_covariance.py::test_shrinkage_as_stated"),
        ('AMOUNTS = {"ridge": 0.01, "trace": 0.1}', 'AMOUNTS = {"ridge": 0.1, "trace": 0.1}', "divergences/test_covariance.py::test_shrinkage_as_stated"),
        ("(x - mean.unsqueeze(-1)) * weights.unsqueeze(-2)", "x - mean.unsqueeze(-1)", "divergences/test_covariance.py::test_masked_samples_do_not_count"),
    ],
    "divergences/wasserstein.py": [
        ("(p.mean.unsqueeze(2) - q.mean.unsqueeze(1)).square().sum(-1)", "(p.mean.unsqueeze(2) - q.mean.unsqueeze(1)).abs().sum(-1)", "divergences/test_full.py::test_diagonal_covariances_agree_with_the_diagonal_kind"),
        ("lower.mT @ p.cov.unsqueeze(2) @ lower", "lower @ p.cov.unsqueeze(2) @ lower.mT", "divergences/test_full.py::test_covariances_that_do_not_commute"),
    ],
    "attacks/threat.py": [
        ("clean - self.eps).clamp_(min=0)", "clean - self.eps)", "attacks/test_threat.py::test_projection_start_and_step_stay_in_the_ball_and_in_the_box"),
        ("(clean + self.eps).clamp_(max=1)", "clean + self.eps", "attacks/test_threat.py::test_projection_start_and_step_stay_in_the_ball_and_in_the_box"),
        ("(clean + self.eps).clamp_(max=1)", "(clean + 2 * self.eps).clamp_(max=1)", "attacks/test_threat.py::test_projection_start_and_step_stay_in_the_ball_and_in_the_box"),
        (".clamp(max=1)).clamp_(0, 1)", ".clamp(max=1))", "attacks/test_threat.py::test_projection_start_and_step_stay_in_the_ball_and_in_the_box"),
        ("self.project(points + length * direction.sign_(), clean)", "self.project(points - length * direction.sign_(), clean)", "attacks/test_threat.py::test_a_step_has_its_length_whatever_the_scale_of_the_gradient"),
        ("length * direction.sign_(), clean)", "length / 10 * direction.sign_(), clean)", "attacks/test_threat.py::test_a_step_has_its_length_whatever_the_scale_of_the_gradient"),
        ("direction.abs().amax((-3, -2, -1), keepdim=True)", "direction.abs().amax()", "attacks/test_threat.py::test_a_step_has_its_length_whatever_the_scale_of_the_gradient"),
        ("(2 * torch.rand(clean.shape", "(torch.rand(clean.shape", "attacks/test_threat.py::test_random_starts_fill_the_ball"),
        ("dim=(-3, -2, -1), keepdim=True)\n        # Clamping", "keepdim=True)\n        # Clamping", "attacks/test_threat.py::test_random_starts_fill_the_ball"),
        ("1 / math.prod(clean.shape[-3:])", "1", "attacks/test_threat.py::test_random_starts_fill_the_ball"),
    ],
    "attacks/ascent.py": [
        ("points = threat.move(points, gradient, clean)", "points = threat.move(clean, gradient, clean)", "attacks/test_ascent.py::test_same_generator_same_points_and_another_one_others"),
        ("clean, length=threat.eps), backward", "clean), backward", "attacks/test_ascent.py::test_a_linear_loss_ends_at_the_best_point_of_the_ball"),
        ("for run in range(threat.restarts):", "for run in range(1):", "attacks/test_ascent.py::test_keep_best_costs_one_pass_a_step_and_a_look_at_the_end"),
        ("for step in range(threat.steps):", "for step in range((threat.steps + 1) // 2):", "attacks/test_ascent.py::test_keep_last_costs_exactly_its_steps"),
        ("part.training = flag", "pass", "attacks/test_ascent.py::test_frozen_restores_after_an_exception_and_after_a_replaced_buffer"),
        ("buffer.data.copy_(copy)", "pass", "attacks/test_ascent.py::test_frozen_leaves_no_trace_of_a_train_mode_attack"),
        ("parameter.requires_grad_(value)", "pass", "attacks/test_ascent.py::test_frozen_leaves_no_trace_of_a_train_mode_attack"),
    ],
    "attacks/search.py": [
        ("better = loss > old_loss", "better = loss < old_loss", "attacks/test_ascent.py::test_attacks_raise_the_loss_and_a_no_op_does_not_pass"),
        ("self.active = numbers[~beaten]", "self.active = torch.arange(len(loss))[~beaten]", "attacks/test_ascent.py::test_dropping_beaten_units_finds_the_same_successes_with_fewer_images"),
        ("(beaten & ~old) | ((beaten == old) & better)", "better", "attacks/test_ascent.py::test_a_beaten_candidate_wins_over_a_larger_loss"),
    ],
    "attacks/adaptive.py": [
        ("rises + (loss > last), loss", "rises + (loss > last), torch.maximum(loss, best_loss)", "attacks/test_adaptive.py::test_every_image_moves_as_one_alone_would"),
        ("torch.ones_like(best_loss, dtype=torch.bool)", "torch.zeros_like(best_loss, dtype=torch.bool)", "attacks/test_adaptive.py::test_every_image_moves_as_one_alone_would"),
        ("last, rises, checked_at = torch.zeros_like(best_loss)", "last, rises, checked_at = best_loss", "attacks/test_adaptive.py::test_every_image_moves_as_one_alone_would"),
        ("length = torch.where(back, length / 2, length)", "pass", "attacks/test_adaptive.py::test_every_image_moves_as_one_alone_would"),
    ],
    "attacks/queries.py": [
        (".detach() > 0.5)", ".detach() > 0.8)", "attacks/test_queries.py::test_one_classifier_answers_for_every_episode_as_its_own_does"),
        ("owners.unsqueeze(1) // self.bits % 2", "owners.unsqueeze(1) % 2 + 0 * self.bits", "attacks/test_queries.py::test_one_classifier_answers_for_every_episode_as_its_own_does"),
    ],
    "attacks/squares.py": [
        ("best = torch.where(rises, candidate, best)", "best = candidate", "attacks/test_squares.py::test_it_finds_without_gradients_and_stays_in_the_ball"),
        ("sum(at > halving for halving in HALVINGS)", "sum(at > 2 * halving for halving in HALVINGS)", "attacks/test_squares.py::test_squares_shrink_as_the_publication_says"),
    ],
    "attacks/checks.py": [
        ("gap.mean + gap.half_width < 0", "gap.mean - gap.half_width < 0", "ranking/test_scoring.py::test_verdicts"),
    ],
    "data/corruptions.py": [
        ("draws < share / 2, 0.0", "draws < share, 0.0", "data/test_corruptions.py::test_noises_have_their_moments"),
        ("strengths[severity - 1]", "strengths[0]", "data/test_corruptions.py::test_severities_grow"),
        ("kernel = (kernel / kernel.sum()).to(image)", "kernel = kernel.to(image)", "data/test_corruptions.py::test_blurs_keep_a_plain_image_and_the_light_of_a_point"),
    ],
    "fewshot/card.py": [
        ("encode(net, episode.query[:, i : i + 1], 1)", "encode(net, episode.query, limit)[:, i : i + 1]", "fewshot/test_card.py::test_an_encoder_that_looks_at_the_images_beside_fails"),
        ("dead, asked = dead + int((still & ~beaten).sum())", "dead, asked = dead + 0 * int((still & ~beaten).sum())", "fewshot/test_card.py::test_a_net_that_rounds_its_images_fails"),
        ('return {"passed": changed == 0', 'return {"passed": changed >= 0', "fewshot/test_card.py::test_the_published_distance_fails_because_it_depends_on_the_batch"),
    ],
    "fewshot/smoothing.py": [
        ("smoothing.sigma * ndtri(", "2 * smoothing.sigma * ndtri(", "fewshot/test_smoothing.py::test_an_attack_breaks_nothing_within_the_radius_and_much_beyond"),
        ("limit > 0.5, smoothing.sigma", "limit > 0.0, smoothing.sigma * 0 + 1e-3 + smoothing.sigma", "fewshot/test_smoothing.py::test_a_query_at_the_border_abstains"),
        ("compute_lower_bound(hits, smoothing.draws, smoothing.alpha)", "compute_lower_bound(hits, smoothing.draws, smoothing.alpha / 2)", "fewshot/test_smoothing.py::test_radii_by_hand"),
        ("chosen = first.argmax(-1)", "chosen = votes.argmax(-1)", "fewshot/test_smoothing.py::test_other_draws_choose_the_class_than_bound_it"),
        ("fit_support(net, episode, max_images) if smoothing.noisy == \"query\" else None", "fit_support(net, episode, max_images)", "fewshot/test_smoothing.py::test_the_support_set_carries_noise_only_where_it_is_asked_for"),
        ("compute_lower_bound(effort.draws - hits,", "compute_lower_bound(0 * hits,", "fewshot/test_smoothing.py::test_an_attack_breaks_nothing_within_the_radius_and_much_beyond"),
    ],
    "fewshot/poisoning.py": [
        ("for replaced in range(1, shots + 1):", "for replaced in range(shots):", "fewshot/test_poisoning.py::test_radii_by_hand"),
        ("one.append(pushed & pulled)", "one.append(pushed)", "fewshot/test_poisoning.py::test_certificates_equal_brute_force_over_all_replacements"),
        ("kept = ordered[..., : shots - replaced], ordered[..., replaced:]", "kept = ordered[..., replaced:], ordered[..., : shots - replaced]", "fewshot/test_poisoning.py::test_certificates_equal_brute_force_over_all_replacements"),
        ("rank >= support.shape[2] - replaced)", "rank > support.shape[2] - replaced)", "fewshot/test_poisoning.py::test_attacks_by_images_break_no_certificate_and_many_others"),
    ],
    "fewshot/heads/shots.py": [
        ("return (shots - 1) // 2 if rule", "return (shots - 1) // 3 if rule", "fewshot/test_poisoning.py::test_heads_of_shots_take_the_mean_of_the_middle"),
        ("(rank < count - trimmed)", "(rank <= count - trimmed)", "fewshot/test_poisoning.py::test_heads_of_shots_take_the_mean_of_the_middle"),
    ],
    "reports/certificates.py": [
        ("find_right(record, record[\"chosen\"]) & (radii > 0)", "(radii > 0)", "reports/test_certificates.py::test_a_smoothing_table_counts_what_is_certified_and_right"),
        ("LEGEND_WIDTH = 52", "LEGEND_WIDTH = 500", "publish/test_pages.py::test_every_figure_of_a_record_has_room_for_what_it_shows"),
        ("(radii >= replaced)", "(radii > replaced - 2)", "reports/test_certificates.py::test_a_poisoning_table_counts_right_answers_that_stand"),
    ],
    "attacks/objectives.py": [
        ("ordered[..., 2] + ordered[..., 3]) / 2", "ordered[..., 1] + ordered[..., 2]) / 2", "attacks/test_suite.py::test_losses_by_hand"),
    ],
    "attacks/suite.py": [
        ("table or generator", "generator", "attacks/test_suite.py::test_a_suite_never_leaves_more_than_the_attack_of_the_table"),
        ("some = right.nonzero().squeeze(1)", "some = torch.arange(len(right))", "attacks/test_suite.py::test_the_worst_case_is_no_better_than_pgd_and_its_images_prove_it"),
        ("images[lost] = ascent.images[ascent.beaten]", "pass", "attacks/test_suite.py::test_the_worst_case_is_no_better_than_pgd_and_its_images_prove_it"),
        ('attacks.append(StrongAttack(f"Square-{squares}"', '[].append(StrongAttack(f"Square-{squares}"', "attacks/test_suite.py::test_a_net_without_a_gradient_falls_to_squares"),
        ("fewest = right if fewest is None else torch.minimum(fewest, right)", "fewest = torch.full_like(right, episode.labels.shape[1])", "attacks/test_suite.py::test_attacks_on_support_sets_are_at_least_as_strong_as_pgd"),
    ],
    "attacks/gradient.py": [
        ('(1.25 * eps, "random")', '(eps / 2, "random")', "fewshot/test_episode_loss.py::test_the_training_attack_is_fgsm_with_a_random_start_or_pgd"),
        ("margin_loss(logits, labels[some])", "margin_loss(logits, labels[: len(logits)])", "attacks/test_gradient.py::test_without_stop_the_loss_decides_and_with_it_the_verdict"),
        ("logits.detach().argmax(-1) != labels", "logits.detach().argmax(-1) == labels", "attacks/test_gradient.py::test_margin_loss_in_any_leading_shape_and_at_least_fp32"),
        ("start = \"random\" if random_start else \"clean\"\n    return", "start = \"clean\"\n    restarts = 1\n    return", "attacks/test_threat.py::test_names"),
    ],
    "attacks/transfer.py": [
        ("surrogate(part).argmax(1) for part", "surrogate(part).argmin(1) for part", "attacks/test_transfer.py::test_the_attack_transfers_to_another_net_and_a_no_op_does_not_pass"),
        ('rows = image_set.rows("train")', "rows = image_set.rows()", "attacks/test_transfer.py::test_it_is_trained_on_base_classes_only"),
        ("return rows[~held_out], rows[held_out]", "return rows, rows[held_out]", "attacks/test_transfer.py::test_it_is_trained_on_base_classes_only"),
        ("(self.accuracy - chance) / (1 - chance) >= LEAST_SKILL", "self.accuracy >= LEAST_SKILL", "attacks/test_transfer.py::test_a_surrogate_near_chance_is_of_no_use"),
        ("classes[predicted] == image_set.labels[part]", "predicted == image_set.labels[part]", "attacks/test_transfer.py::test_a_surrogate_is_measured_on_the_images_it_was_not_trained_on"),
        ("objective, flat, threat, generator", 'objective, flat, threat.__class__(**{**vars(threat), "eps": threat.eps / 8}), generator', "attacks/test_transfer.py::test_the_attack_transfers_to_another_net_and_a_no_op_does_not_pass"),
    ],
    "attacks/episode.py": [
        ("(margin / spread)", "(-margin / spread)", "attacks/test_episode.py::test_attacks_lower_the_accuracy_and_a_no_op_does_not_pass"),
        (".clamp(max=BEYOND).mean(-1)", ".mean(-1)", "attacks/test_episode.py::test_an_adversary_of_whole_episodes_counts_the_beaten_queries"),
        ("pick(model, active // n)", "pick(model, active % len(labels))", "attacks/test_episode.py::test_dropping_beaten_queries_gives_the_same_verdicts_for_fewer_images"),
        ("labels.flatten()[active]", "labels.flatten()[: len(active)]", "attacks/test_episode.py::test_dropping_beaten_queries_gives_the_same_verdicts_for_fewer_images"),
        ("return torch.where(mask, support.view_as(episode.support), episode.support)", "return support.view_as(episode.support)", "attacks/test_episode.py::test_missing_shots_stay_out_of_the_attack"),
        ("fit(maps, _support_labels(episode), episode.mask.flatten(1))", "fit(maps, _support_labels(episode))", "attacks/test_episode.py::test_attacks_lower_the_accuracy_and_a_no_op_does_not_pass"),
    ],
    "attacks/external.py": [
        ("return threat.project(points.detach().to(images), images.detach())", "return points.detach().to(images)", "attacks/test_external.py::test_an_attack_of_adv_lib_stays_in_our_threat_model"),
        ("np.random.set_state(former_numpy)", "np.random.get_state()", "attacks/test_external.py::test_forked_generators_repeat_inside_and_are_put_back"),
        ("return threat.project(torch.as_tensor(points).to(images), images.detach())", "return torch.as_tensor(points).to(images)", "attacks/test_external.py::test_any_attack_of_the_library_stays_in_our_threat_model"),
    ],
    "fewshot/training.py": [
        ('if encoder_state is not None:\n            settings', 'if False:\n            settings', "fewshot/test_training.py::test_a_recipe_without_episodes_returns_the_encoder_as_it_came"),
        ('image_set, "val", protocol.way', 'image_set, "test", protocol.way', "fewshot/test_training.py::test_the_net_is_selected_on_the_validation_classes"),
        ('rows=image_set.rows("train"),', "", "fewshot/test_training.py::test_a_step_sees_its_own_episodes_of_the_training_classes"),
        ("+ self.group * size", "+ 0 * size", "core/test_ranks.py::test_the_groups_of_a_step_are_its_episodes_and_its_images"),
        ("sampler.draw(size, start=start)", "sampler.draw(size, start=0)", "fewshot/test_training.py::test_a_step_sees_its_own_episodes_of_the_training_classes"),
        ("set_rate(self.optimizers, self.recipe.learning_rate * factor)", "pass", "fewshot/test_training.py::test_the_optimiser_uses_the_schedule"),
        ("if scores[name] > scores[method]:", "if False:", "fewshot/test_training.py::test_the_head_that_validates_best_is_chosen"),
        ("if self.starts_trained:", "if False:", "fewshot/test_training.py::test_a_trained_encoder_is_a_candidate_before_its_first_episode"),
        ("averaged = self.average is not None and self.step > 0", "averaged = False", "fewshot/test_training.py::test_the_averaged_weights_are_tested_and_returned"),
        ('if score > self.best["score"]:', "if True:", "fewshot/test_training.py::test_the_best_validation_is_returned_and_not_the_last"),
        ("self.net.train()", "self.net.eval()", "fewshot/test_training.py::test_the_share_of_each_level_is_kept_and_shown_at_every_validation"),
    ],
    "reports/ablation.py": [
        ("self.p < LEVEL and len(", "self.p < LEVEL or len(", "reports/test_ablation.py::test_a_star_takes_a_small_p_and_seeds_that_agree"),
        ('if first["manifest"]["hash"] == second["manifest"]["hash"]:', "if first:", "reports/test_ablation.py::test_only_seeds_and_episodes_that_both_have_are_compared"),
        ("np.mean(b - a)", "np.mean(a - b)", "reports/test_ablation.py::test_a_difference_is_the_mean_over_seeds_of_paired_differences"),
        ("raised = adjust_holm([", "raised = list([", "reports/test_ablation.py::test_the_p_values_of_a_column_are_corrected_for_their_number"),
    ],
    "reports/leaky_split.py": [
        ('_clean(released)["mean"] - _clean(split)["mean"]', '_clean(split)["mean"] - _clean(released)["mean"]', "reports/test_leaky_split.py::test_a_line_holds_both_accuracies_of_one_net_and_the_last_their_mean_difference"),
    ],
    "records/answers.py": [
        ("stream=stream).draw()", 'stream="episodes").draw()', "records/test_answers.py::test_episodes_are_drawn_again_from_the_numbers_of_images"),
        ("np.repeat(rows.classes, rows.query.shape[2], axis=1)", "np.tile(rows.classes, (1, rows.query.shape[2]))", "records/test_answers.py::test_a_record_holds_the_answers_of_clean_images_and_of_pgd"),
    ],
    "records/schema.py": [
        ('if right.sum(1).tolist() != column["correct"]:', "if len(right) != len(column[\"correct\"]):", "records/test_answers.py::test_answers_that_are_not_those_that_were_counted_are_refused"),
    ],
    "experiments/leaky_split.py": [
        ("published.split_twice(image_set.class_names, seed).test", "published.split_classes(image_set.class_names, random.Random(seed)).test", "experiments/test_leaky_split.py::test_one_draw_leaks_nothing_and_the_test_classes_of_the_release_never_move"),
    ],
    "course/checklist.py": [
        ("if path.exists():", "if path.is_dir():", "course/test_checklist.py::test_a_list_is_saved_once_and_read_again"),
    ],
    "reports/speed.py": [
        ("base['median'] / seconds[row[0]]['median']", "seconds[row[0]]['median'] / base['median']", "reports/test_tables.py"),
    ],
    "reports/lengths.py": [
        ("return seconds / 60", "return seconds / 3600", "reports/test_lengths.py::test_the_table_says_steps_or_episodes_and_minutes"),
        ("return min(reached, default=None)", "return max(reached, default=None)", "reports/test_lengths.py::test_the_first_time_is_that_of_the_shortest_training_that_reached_it"),
        ("for record in sorted(ordered, key=count_length):", "for record in ordered:", "reports/test_lengths.py::test_a_curve_runs_from_the_shortest_training_to_the_longest"),
        ("    if len(settings) > 1:", "    if len(settings) > 9:", "reports/test_lengths.py::test_minutes_or_episodes_of_other_kinds_are_no_curve"),
    ],
    "reports/recipes.py": [
        ("return [(compute_accuracies(a)[:k], compute_accuracies(b)[:k])", "return [(compute_accuracies(b)[:k], compute_accuracies(a)[:k])", "reports/test_recipes.py::test_differences_are_those_to_the_unchanged_recipe_on_the_same_episodes"),
        ("front: np.ndarray = ~np.any(beaten, axis=1)", "front: np.ndarray = ~np.all(beaten, axis=1)", "reports/test_recipes.py::test_the_front_holds_what_no_other_beats_in_both"),
    ],
    "fewshot/optimization.py": [
        ("math.cos(math.pi * step / n_steps)", "math.cos(2 * math.pi * step / n_steps)", "fewshot/test_optimization.py::test_the_rate_follows_its_schedule"),
        ('{"params": vectors, "weight_decay": 0.0}', '{"params": vectors, "weight_decay": recipe.weight_decay}', "fewshot/test_optimization.py::test_weight_decay_leaves_biases_and_scales_alone"),
    ],
    "fewshot/first_stage.py": [
        ('if name != "pretrain_as" or value is not None', 'if name != "pretrain_as"', "ranking/test_first_stage.py::test_no_other_stage_is_taken_for_it"),
        ('if name != "pretrain_as"', "if True", "fewshot/test_pretraining.py::test_an_encoder_is_found_by_the_name_that_former_releases_gave_it"),
        ('KEPT = ("seed", "attention",', 'KEPT = ("attention",', "fewshot/test_pretraining.py::test_variants_of_the_ablation_start_from_one_encoder"),
    ],
    "fewshot/nets.py": [
        ("return stored == to_dict(recipe) and hash", "return hash", "experiments/test_rows.py::test_a_net_that_is_taken_up_again_keeps_its_file"),
    ],
    "experiments/former.py": [
        ("any(worst > plain for worst, plain in pairs)", "False", "experiments/test_rows.py::test_a_worst_case_that_leaves_more_than_a_part_of_it_is_measured_again"),
        ("(name not in answered or ", "(True or ", "experiments/test_rows.py::test_a_column_that_does_not_say_which_queries_are_right_is_measured_again_where_it_is_asked_for"),
        ("if not (different := list_differences(former, asked)):", "if (different := list_differences(former, asked)) or True:", "experiments/test_levels.py::test_a_variant_of_another_split_recipe_or_net_is_never_overwritten"),
        ('if record["checkpoint"]["sha256"] != checkpoint:', "if False:", "ranking/test_scoring_commands.py::test_the_record_of_another_net_or_training_is_never_overwritten"),
        ('return column.get("rule") ==', 'return column.get("rule", "hasty") ==', "experiments/test_rows.py::test_worst_cases_of_other_adaptive_steps_are_measured_again"),
    ],
    "ranking/training/first_stage.py": [
        ("if budget.groups > 1:", "if False:", "ranking/test_first_stage.py::test_triplets_of_a_whole_batch_are_not_cut_into_groups"),
        ("self.defense.finish_step()", "pass", "ranking/test_first_stage.py::test_a_killed_stage_ends_in_the_same_bytes"),
    ],
    "reports/cross_domain.py": [
        ('native["row"] == foreign["row"] and', "", "reports/test_cross_domain.py::test_a_net_without_a_counterpart_stands_alone"),
    ],
    "fewshot/pretraining.py": [
        ('self.rows = image_set.rows("train")', "self.rows = np.arange(len(image_set.labels))", "fewshot/test_pretraining.py::test_it_learns_the_base_classes_and_nothing_else"),
        ('if version != "adversarial":', 'if version:', "fewshot/test_pretraining.py::test_the_shares_are_parts_of_a_batch"),
        ("self.net.load_state_dict(self.average.module.state_dict())", "pass", "fewshot/test_pretraining.py::test_the_averaged_encoder_is_returned"),
        ("loss = loss + self.recipe.trades * divergence.sum()", "pass", "fewshot/test_pretraining.py::test_trades_counts_attacked_images_by_their_divergence"),
    ],
    "fewshot/validation.py": [
        ("(recipe.sigma_high,", "(recipe.sigma_low,", "fewshot/test_validation.py::test_the_numbers_are_accuracies_of_the_validation_classes"),
        ("recipe.eps / 4, 1", "recipe.eps / 40, 1", "fewshot/test_validation.py::test_the_probe_is_small_and_pgd_is_the_recipes"),
        ("float(np.mean(counts) / n)", "float(np.mean(counts) / per_task)", "fewshot/test_validation.py::test_the_probe_is_small_and_pgd_is_the_recipes"),
    ],
    "fewshot/episode_loss.py": [
        ("return fgsm(recipe.eps,", "return fgsm(recipe.eps / 2,", "fewshot/test_episode_loss.py::test_the_training_attack_is_fgsm_with_a_random_start_or_pgd"),
        ("step = 2.5 * recipe.eps / recipe.attack_steps", "step = 0.25 * recipe.eps / recipe.attack_steps", "fewshot/test_episode_loss.py::test_the_training_attack_is_fgsm_with_a_random_start_or_pgd"),
        ("training=False if recipe.attack_eval else None", "training=False", "fewshot/test_episode_loss.py::test_the_training_attack_runs_on_the_statistics_of_its_batch"),
        ("share / total for version", "share for version", "fewshot/test_episode_loss.py::test_a_version_of_share_0_is_never_computed"),
        ("recipe.sigma_low, recipe.sigma_high, generator", "recipe.sigma_low, 0.1, generator", "fewshot/test_episode_loss.py::test_noisy_queries_have_sigmas_in_the_range_of_the_recipe"),
        ("Hesim(temperature=recipe.temperature,", "Hesim(temperature=0.1,", "fewshot/test_episode_loss.py::test_hesim_has_the_temperature_of_the_recipe"),
        ("episode.class_ids.gather(1, episode.labels)", "episode.labels", "fewshot/test_episode_loss.py::test_hesim_reaches_the_encoder_and_sees_class_numbers"),
        ("loss + recipe.hesim * metric_loss", "loss + metric_loss", "fewshot/test_episode_loss.py::test_hesim_is_weighed_and_has_a_kind_for_every_head"),
        ("return loss if scores.penalty is None else loss + scores.penalty", "return loss", "fewshot/test_episode_loss.py::test_the_variational_head_samples_and_pays_a_penalty"),
        ('mixed.cross_entropy(logits["clean"], smoothing)', 'losses["clean"]', "fewshot/test_episode_loss.py::test_mixing_changes_images_and_targets_of_the_clean_version"),
    ],
    "attacks/stored.py": [
        ("> eps + ROUNDING[norm]", "> 2 * eps + ROUNDING[norm]", "attacks/test_stored.py::test_one_step_of_a_pixel_beyond_the_ball_is_refused"),
        ("change.abs().amax(1) if norm", "change.abs().mean(1) if norm", "attacks/test_stored.py::test_one_step_of_a_pixel_beyond_the_ball_is_refused"),
        ("if low < 0 or high > 1:", "if low < -1e-3 or high > 1.001:", "attacks/test_stored.py::test_what_is_no_pixel_is_refused"),
        ("if shape[0] * shape[1] > most:", "if shape[0] > most:", "attacks/test_stored.py::test_a_file_of_too_many_images_is_refused_before_it_is_read"),
    ],
    "fewshot/rescoring.py": [
        ("right.append(wrong - logits[label] <= allowed)", "right.append(wrong - logits[label] < 0)", "fewshot/test_rescoring.py::test_a_query_must_be_beaten_by_more_than_rounding"),
        ("for c in range(way) for _ in range(shot)]", "for _ in range(shot) for c in range(way)]", "fewshot/test_rescoring.py::test_it_counts_what_the_evaluation_counts"),
    ],
    "experiments/rescore.py": [
        ("changed.right & unchanged.right", "unchanged.right", "experiments/test_rescore.py::test_the_images_of_a_row_confirm_its_record"),
        ("compare_paired(recorded / queries, counts.challenged / queries)", "compare_paired(counts.challenged / queries, recorded / queries)", "experiments/test_rescore.py::test_the_images_of_a_suite_beat_two_steps_of_pgd_and_are_kept_beside"),
        ("counts.challenged.sum() < recorded.sum()", "counts.clean.sum() < recorded.sum()", "experiments/test_rescore.py::test_the_images_of_a_suite_beat_two_steps_of_pgd_and_are_kept_beside"),
        ("if not np.array_equal(stored.rows, expected):", "if stored.rows.shape != expected.shape:", "experiments/test_rescore.py::test_a_cheat_is_refused_in_one_sentence_and_leaves_no_record"),
        ('[column["correct"][task] for task in tasks]', 'column["correct"][: len(tasks)]', "experiments/test_rescore.py::test_some_of_the_episodes_are_paired_with_themselves"),
    ],
    "experiments/stored.py": [
        ("np.arange(start, start + len(rows))", "np.arange(len(rows))", "experiments/test_rescore.py::test_a_killed_test_goes_on_with_its_images"),
    ],
    "attacks/judges.py": [
        ("eps_step=eps / 4, max_iter=STEPS", "eps_step=eps / 4, max_iter=1", "experiments/test_judges.py::test_the_libraries_beat_what_ours_beat"),
        ('a.loss == "targeted"]', 'a.loss == "targeted"][:1]', "experiments/test_judges.py::test_each_attack_is_that_part_of_the_short_suite"),
    ],
    "experiments/card.py": [
        ('asked = {"net": net_hash,', 'asked = {', "experiments/test_card.py::test_a_card_that_says_the_same_is_kept_and_none_is_lost"),
    ],
    "experiments/net_records.py": [
        ("if evaluator.seen:", "if False:", "experiments/test_card.py::test_a_card_on_seen_classes_is_marked"),
    ],
    "experiments/smoothing.py": [
        ('sum(part["seconds"] for part in parts)', 'parts[-1]["seconds"]', "experiments/test_certificates.py::test_a_killed_smoothing_goes_on_with_the_next_episode"),
    ],
    "reports/suites.py": [
        ("title_row(record)", 'title_row({**record, "columns": {}})', "reports/test_suites.py::test_a_row_whose_pgd_is_far_above_the_strong_attacks_says_so"),
    ],
    "experiments/judges.py": [
        ("if (key := _name_part(name, k)) not in journal:", "if key := _name_part(name, k):", "experiments/test_judges.py::test_a_killed_comparison_goes_on_with_the_next_part"),
        ("compare_paired(ours.mean(1), theirs.mean(1))", "compare_paired(theirs.mean(1), ours.mean(1))", "experiments/test_judges.py::test_a_judge_that_changes_nothing_leaves_the_clean_accuracy"),
        ("int((theirs & ~ours).sum())", "int((ours & ~theirs).sum())", "experiments/test_judges.py::test_a_judge_that_changes_nothing_leaves_the_clean_accuracy"),
    ],
    "attacks/expectation.py": [
        ("return losses.mean(0), right", "return losses[0], right", "attacks/test_expectation.py::test_the_gradient_is_the_mean_of_those_of_single_draws"),
        ("net.head.score(picked, maps, generator)", "net.head.score(picked, maps)", "attacks/test_expectation.py::test_the_gradient_is_the_mean_of_those_of_single_draws"),
        ("right.float().mean(0) < 0.5", "right.float().mean(0) < 1", "attacks/test_expectation.py::test_the_gradient_is_the_mean_of_those_of_single_draws"),
    ],
    "cli/options/fewshot.py": [
        ('() if preset == "smoke" else FIRST_ROBUST', "()", "fewshot/test_methods.py::test_longer_presets_also_train_the_recipe_that_is_robust_first"),
    ],
    "experiments/rows.py": [
        ('former["columns"].keys() - columns.keys()', 'columns.keys() - former["columns"].keys()', "experiments/test_rows.py::test_worst_cases_of_other_adaptive_steps_are_measured_again"),
    ],
    "fewshot/descriptions.py": [
        ("if (places < 0).any() or rows.min(initial=0) < 0:", "if (places < 0).any():", "fewshot/test_evaluation.py::test_images_that_were_not_described_are_refused"),
        ("if (places < 0).any() or rows.min(initial=0) < 0:", "if rows.min(initial=0) < 0:", "fewshot/test_evaluation.py::test_images_that_were_not_described_are_refused"),
    ],
    "fewshot/evaluation.py": [
        ("logits.argmax(-1) == labels", "logits.argmin(-1) == labels", "fewshot/test_evaluation.py::test_clean_counts_are_those_of_a_plain_loop"),
        ("target in (\"query\", \"both\"))\n", "target == \"query\")\n", "fewshot/test_evaluation.py::test_only_the_target_is_changed"),
        ("attack/{threat.name}/{first_task}", "attack/{threat.name}", "fewshot/test_evaluation.py::test_the_attacks_random_stream_belongs_to_the_tasks"),
        ("model = fit_support(net, attacked, max_images)", "model = fit_support(net, episode, max_images)", "fewshot/test_evaluation.py::test_an_attack_lowers_the_accuracy_and_a_no_op_does_not"),
        ("if net.training or net.backbone.training or net.head.training:", "if False:", "fewshot/test_refusals.py::test_a_net_in_train_mode_is_refused"),
        ("if not torch.isfinite(logits).all():", "if torch.isinf(logits).any():", "fewshot/test_refusals.py::test_a_net_with_broken_weights_has_no_accuracy"),
    ],
    "fewshot/heads/contract.py": [
        ("weights & mask.unsqueeze(1)", "weights", "fewshot/test_heads.py::test_unequal_shots_by_mask_equal_leaving_the_shots_out"),
    ],
    "fewshot/heads/gaussian.py": [
        ('measures.pairwise("bhattacharyya", query, model) / self.channels', 'measures.pairwise("bhattacharyya", query, model)', "fewshot/test_heads.py::test_gaussian_heads_are_the_stated_divergence_of_pooled_positions"),
        ("return measures.pairwise(self.divergence, query, model) / self.channels", "return measures.pairwise(self.divergence, model, query).mT / self.channels", "fewshot/test_heads.py::test_gaussian_heads_are_the_stated_divergence_of_pooled_positions"),
        ("4 * torch.tanh(self.to_log_var(pooled).float() / 4)", "self.to_log_var(pooled).float()", "fewshot/test_heads.py::test_variances_of_the_variational_head_are_bounded"),
        ('to_standard("hellinger2", query.mean, query.var.log())', 'to_standard("hellinger2", query.mean, query.var)', "fewshot/test_heads.py::test_the_penalty_is_the_divergence_to_the_prior"),
    ],
    "fewshot/heads/prototypes.py": [
        ("weights @ support / weights.sum(-1, keepdim=True)", "weights @ support", "fewshot/test_heads.py::test_prototypes_are_class_means_under_the_metric"),
        ("squares - 2 * query @ model.mT", "squares - query @ model.mT", "fewshot/test_heads.py::test_prototypes_are_class_means_under_the_metric"),
    ],
    "fewshot/hesim.py": [
        ("/ self.temperature", "* self.temperature", "fewshot/test_hesim.py::test_is_the_formula"),
        ("against[anchor])", "against[positive])", "fewshot/test_hesim.py::test_every_miner_gives_the_library_ntxent"),
        ("gaussian.mean.shape[-1] if self.per_dimension else 1", "1", "fewshot/test_hesim.py::test_is_the_formula"),
    ],
    "fewshot/attention.py": [
        ("return torch.sigmoid(average + maximum)", "return torch.sigmoid(average)", "fewshot/test_attention.py::test_the_gates_are_the_stated_formulas"),
    ],
    "fewshot/encoders.py": [
        ("(images - PIXEL_MEAN) / PIXEL_STD", "images", "fewshot/test_encoders.py::test_the_input_is_normalised_inside"),
        ('mode="fan_out"', 'mode="fan_in"', "fewshot/test_encoders.py::test_the_initialisation_is_kaiming_normal_fan_out"),
    ],
    "fewshot/levels/pixel.py": [
        ("unit(maps.flatten(-2).mT)", "maps.flatten(-2).mT", "fewshot/levels/test_levels.py::test_pixel_values"),
        ("index // per_shot, index % per_shot", "index % per_shot, index // per_shot", "fewshot/levels/test_levels.py::test_matches_name_the_shot_and_the_position"),
    ],
    "fewshot/levels/part.py": [
        ("unit(maps.flatten(-2))", "unit(maps.flatten(-2), dim=-2)", "fewshot/levels/test_levels.py::test_part_value"),
    ],
    "fewshot/levels/fusion.py": [
        ("parts = -scale * self.weights * standard", "parts = scale * self.weights * standard", "fewshot/levels/test_fusion.py::test_the_stated_sum_and_the_dilated_convolution"),
        ("centred = stacked - stacked.mean(2, keepdim=True)", "centred = stacked - stacked.mean(1, keepdim=True)", "fewshot/levels/test_fusion.py::test_in_eval_mode_queries_do_not_see_each_other"),
    ],
    "fewshot/levels/matching.py": [
        ("0.5 * (directions[0] + directions[1])", "directions[0] + directions[1]", "fewshot/levels/test_matching.py::test_directions"),
    ],
    "fewshot/levels/distribution.py": [
        ('measures.pairwise("kl", model, queries).mT', 'measures.pairwise("kl", queries, model)', "fewshot/levels/test_levels.py::test_every_pair_is_in_its_place"),
    ],
    "fewshot/levels/crops.py": [
        ('WEIGHTS = {"part": 1.0, "pixel": 0.5, "global": 0.5}', 'WEIGHTS = {"part": 0.5, "pixel": 1.0, "global": 0.5}', "fewshot/levels/test_crops.py::test_a_whole_net"),
    ],
    "fewshot/classifier.py": [
        ("pick(self.model, index), maps[:, None]", "pick(self.model, index * 0), maps[:, None]", "fewshot/test_classifier.py"),
    ],
    "ranking/distances.py": [
        ("(1 - products).clamp(0, 2)", "(1 - products).clamp(0, 1)", "ranking/test_distances.py"),
        ("return distance(anchor, positive, metric) - distance(anchor, negative, metric)", "return distance(anchor, negative, metric) - distance(anchor, positive, metric)", "ranking/test_distances.py"),
        ('pairwise("bhattacharyya", p, q) / p.mean.shape[-1]', 'pairwise("bhattacharyya", p, q)', "ranking/test_distances.py"),
    ],
    "ranking/gallery.py": [
        ("return squares.mul_(0.5) if", "return squares if", "ranking/test_retrieval.py::test_distances_to_a_gallery_are_those_of_the_metric"),
        ("real & (columns != rows[:, None])", "real", "ranking/test_retrieval.py"),
        ("count * (count - 1)).sum()", "count * count).sum()", "ranking/test_retrieval.py ranking/test_ers.py"),
    ],
    "ranking/retrieval.py": [
        ("distances[here.nonzero().squeeze(1), place[here]] = torch.inf", "pass", "ranking/test_retrieval.py"),
        ("(sort_rows(distances), relevant, right=True)", "(sort_rows(distances), relevant)", "ranking/test_retrieval.py"),
        ("masked_fill_(~real | (holder != ranks.number), torch.inf)", "masked_fill_(~real, torch.inf)", "ranking/test_shards.py::test_three_processes_measure_the_same_bits_and_keep_ties"),
        ("self.first < k)", "self.first <= k)", "ranking/test_retrieval.py"),
        ("share * (position <= n[:, None])", "share * (position <= CUT)", "ranking/test_retrieval.py"),
    ],
    "ranking/shards.py": [
        ("tile // self.ranks.count * TILE + rows % TILE", "tile // self.ranks.count * TILE + (rows + 1) % TILE", "ranking/test_shards.py::test_every_row_is_held_by_one_process"),
        ("[:, self.held :] = torch.inf", "[:, self.held :] = 0", "ranking/test_shards.py::test_distances_are_those_of_the_whole_gallery"),
        (").flatten(0, 1)[: len(self)]", ").flatten(0, 1).flip(0)[: len(self)]", "ranking/test_retrieval.py::test_embeddings_come_in_order_and_normalised"),
        ("parts[holder, torch.arange", "parts[0, torch.arange", "ranking/test_shards.py::test_three_processes_measure_the_same_bits_and_keep_ties"),
    ],
    "ranking/score/ers.py": [
        ('"CA+": lambda v: 2 * v', '"CA+": lambda v: 100 - v', "ranking/test_ers.py::test_best_and_worst"),
        ('"QA-": lambda v: 100 - v', '"QA-": lambda v: 2 * v', "ranking/test_ers.py::test_best_and_worst"),
        ("50 * (2 - v)", "100 * (1 - v)", "ranking/test_ers.py::test_best_and_worst"),
        ("return total / len(NUMBERS)", "return total / (len(NUMBERS) - 1)", "ranking/test_ers.py::test_best_and_worst"),
        ("min(2 * chance, 50)", "min(chance, 50)", "ranking/test_ers.py"),
    ],
    "ranking/score/testing.py": [
        ("benign[to], attacked[to] = result.benign[name], result.attacked[name]", "benign[to], attacked[to] = result.attacked[name], result.benign[name]", "ranking/test_scoring.py::test_the_parts_of_a_record"),
        ("(attack, not parity) for", "(attack, parity) for", "ranking/test_scoring.py::test_the_parts_of_a_record"),
        ('"ceiling": _digits(ers.score(benign).value)', '"ceiling": _digits(ers.score(attacked).value)', "ranking/test_scoring.py::test_the_parts_of_a_record"),
    ],
    "ranking/score/masking.py": [
        ('{"↑": np.minimum.reduce, "↓": np.maximum.reduce}', '{"↑": np.maximum.reduce, "↓": np.minimum.reduce}', "ranking/test_scoring.py::test_the_worst_of_several_attacks"),
        ("(ahead - behind)", "(behind - ahead)", "ranking/test_scoring.py::test_nes_guesses_the_gradient"),
    ],
    "ranking/attacks/goals.py": [
        ("return -hinge.mean(1) / n", "return hinge.mean(1) / n", "ranking/test_rank_attacks.py::test_losses_and_gradients_are_those_of_the_formulas"),
        ("_least(distances, same) < _least(distances, ~same)", "_least(distances, same) <= _least(distances, ~same)", "ranking/test_rank_attacks.py::test_a_tie_is_a_miss_in_r_at_1"),
        ('1 if self.attack.pm == "+" else -1', '-1 if self.attack.pm == "+" else 1', "ranking/test_rank_attacks.py::test_losses_and_gradients_are_those_of_the_formulas"),
    ],
    "ranking/attacks/hinge.py": [
        ("weights.sum(1, keepdim=True) * rows - weights @ gallery.centred", "weights.sum(1, keepdim=True) * rows + weights @ gallery.centred", "ranking/test_rank_attacks.py::test_losses_and_gradients_are_those_of_the_formulas"),
    ],
    "course/grading.py": [
        (" and not is_running(int(number))", "", "notebooks/test_class.py::test_folders_of_gradings_that_were_killed_go_and_those_of_living_ones_stay"),
        ("except (OSError, EOFError, RecursionError) as error:", "except (EOFError, RecursionError) as error:", "notebooks/test_class.py::test_a_process_that_does_not_start_fails_its_own_submission_alone"),
        ("            if fault:", "            if fault and done:", "notebooks/test_class.py::test_a_process_that_is_late_is_said_to_be"),
        ("if isinstance(statement, DEFINITIONS)]", "if False]", "notebooks/test_class.py::test_each_kind_of_submission_gets_its_verdict"),
        ('return self.said.startswith("passed")', 'return not self.said.startswith("not yet")', "notebooks/test_class.py::test_each_kind_of_submission_gets_its_verdict"),
    ],
    "publish/quizzes.py": [
        ('partition(f"### {number} ")[2]', 'partition(f"### {number} ")[0]', "publish/test_website.py::test_every_question_of_a_notebook_has_a_form_with_its_answers"),
        ('"tolerance": exercise.tolerance', '"tolerance": 0.0', "publish/test_website.py::test_every_question_of_a_notebook_has_a_form_with_its_answers"),
    ],
    "publish/times.py": [
        ("max(s['median']", "min(s['median']", "publish/test_times.py::test_the_slowest_is_the_largest_median_in_milliseconds"),
        ("if variant not in seconds:", "if not seconds:", "publish/test_times.py::test_what_is_missing_is_named"),
    ],
    "publish/courses.py": [
        ("described=len(described)", "described=len(figures)", "publish/test_courses.py::test_a_notebook_is_counted_by_hand"),
        ("{\"longest_cell\": max(", "{\"words\": max(", "publish/test_courses.py::test_counts_add_up_and_the_longest_cell_stays"),
    ],
    "publish/slides.py": [
        ("if EXERCISE.match(rest):", "if False:", "publish/test_slides.py::test_an_exercise_is_shown_whole_and_its_solution_is_noted"),
        ("any(RESULTS & set(", "all(RESULTS & set(", "publish/test_slides.py::test_figures_come_without_code_and_setting_up_not_at_all"),
        ("part if k % 2 else", "part if True else", "publish/test_slides.py::test_formulas_are_not_looked_for_in_code"),
    ],
    "course/copies.py": [
        ('return SOLUTION.sub("\\n\\n", text)', "return text", "notebooks/test_class.py::test_students_get_every_exercise_and_hint_and_no_solution"),
        ("any(folder.iterdir()))", "False)", "notebooks/test_class.py::test_nothing_of_a_student_is_overwritten"),
    ],
    "reconstruction/frechet.py": [
        ("torch.linalg.svdvals(p.factor.T @ q.factor).sum()", "torch.linalg.svdvals(p.factor.T @ q.factor).square().sum()", "reconstruction/test_frechet.py::test_closed_form_of_gaussians"),
        ("- 2 * roots)", "- roots)", "reconstruction/test_frechet.py::test_closed_form_of_gaussians"),
        ("(weights / (total - 1)).sqrt()", "(weights / total).sqrt()", "reconstruction/test_frechet.py::test_the_factor_is_that_of_the_unbiased_covariance"),
        ("order[each : 2 * each]", "order[:each]", "reconstruction/test_frechet.py::test_two_halves_give_the_floor"),
        ("np.polyfit(1 / np.asarray", "np.polyfit(np.asarray", "reconstruction/test_frechet.py::test_the_bias_falls_like_one_over_n"),
        ("distance(real[first], other[second])", "distance(real[first], other[first])", "reconstruction/test_frechet.py::test_over_numbers_compares_different_images"),
        ("float(values.std()) / len(values) ** 0.5", "float(values.std()) / len(values)", "reconstruction/test_frechet.py::test_mean_interval"),
        ("if fewest < LEAST_IMAGES:", "if fewest < 2:", "reconstruction/test_frechet.py::test_sixteen_images_give_a_warning_and_no_number"),
        ('data_range=1.0, reduction="none", dim', 'data_range=255.0, reduction="none", dim', "reconstruction/test_frechet.py::test_psnr_and_ssim"),
    ],
    "reconstruction/autoencoders.py": [
        ("(0.5 * self.log_var).exp()", "self.log_var.exp()", "reconstruction/test_training.py::test_the_sample_is_reparameterised"),
        ("self.error + beta * self.divergence", "self.error + self.divergence", "reconstruction/test_training.py::test_the_bound_is_one_number_an_image"),
        (".square().flatten(1).sum(1)", ".square().flatten(1).mean(1)", "reconstruction/test_training.py::test_the_bound_is_one_number_an_image"),
        ("(images - CENTRE) / SPREAD", "images", "reconstruction/test_training.py::test_the_encoder_sees_centred_pixels"),
    ],
    "experiments/reconstruction.py": [
        ("    check_former_models(experiment)\n    finished", "    finished", "experiments/test_reconstruction.py::test_the_record_of_a_model_of_another_recipe_or_split_is_never_overwritten"),
    ],
    "experiments/benchmarks/limits.py": [
        ("for module, shape in seen:", "for module, shape in seen[1:]:", "experiments/benchmarks/test_peers.py::test_a_limit_counts_every_layer_of_a_kind_once_forward_and_backward"),
        ("layer = module.train()", "layer = module.eval()", "experiments/benchmarks/test_peers.py::test_a_limit_counts_every_layer_of_a_kind_once_forward_and_backward"),
        ("shape[1:] != (3, size, size)", "False", "experiments/benchmarks/test_peers.py::test_a_limit_counts_every_layer_of_a_kind_once_forward_and_backward"),
    ],
    "reconstruction/training.py": [
        ("if not math.isfinite(loss):", "if False:", "experiments/test_reconstruction.py::test_a_bound_that_is_not_finite_is_no_best_epoch"),
        ('pick(image_set, "val", recipe', 'pick(image_set, "test", recipe', "reconstruction/test_training.py::test_the_net_for_84_px_learns_and_goes_on_after_a_stop"),
        ("if not self.history or loss < min", "if not self.history or loss > min", "reconstruction/test_training.py::test_the_net_is_the_best_epochs"),
        ("return rows[order[:count]]", "return rows[:count]", "reconstruction/test_training.py::test_subsets_of_images_are_nested_and_from_their_split"),
    ],
    "records/results.py": [
        ("interval(np.asarray(counts) / queries)", "interval(np.asarray(counts) / np.max(counts))", "records/test_results.py::test_means_and_intervals_can_be_computed_again_from_the_counts"),
        ('np.asarray(column["correct"]) / np.float64(column["queries"])', 'np.asarray(column["correct"]) / max(column["correct"])', "records/test_results.py::test_means_and_intervals_can_be_computed_again_from_the_counts"),
        ('"half_width": round(stats.half_width, 4)', '"half_width": round(stats.sd, 4)', "records/test_results.py::test_means_and_intervals_can_be_computed_again_from_the_counts"),
        ('!= "query" and "objective" not in column', '== "both" and "objective" not in column', "records/test_results.py::test_columns_of_the_former_weaker_attacks_on_support_sets_are_not_read"),
        ('kind in (None, record["kind"])]', "True]", "records/test_results.py::test_all_records_of_a_kind_are_read_in_order"),
    ],
    "records/journal.py": [
        ("journal.parts |= parts", "journal.parts", "core/test_ranks.py::test_a_journal_knows_what_any_process_finished_in_this_run_or_a_former_one"),
    ],
    "records/studies.py": [
        ("json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)", "a == b", "records/test_studies.py"),
    ],
    "records/growth.py": [
        ("x, y = np.log(sizes), np.log(", "x, y = np.log(sizes), np.sqrt(", "experiments/benchmarks/test_growth.py::test_the_exponent_is_the_power_of_the_size"),
    ],
    "records/timing.py": [
        ("paths.records_dir(reference)", "paths.records_dir()", "publish/test_times.py::test_a_reference_is_written_to_the_results_and_a_run_to_the_runs"),
        ("_find_quartiles(measured[1:])", "_find_quartiles(measured)", "experiments/benchmarks/test_levels.py::test_the_first_round_is_not_measured"),
    ],
    "records/describe.py": [
        ('"split_hash": image_set.split_hash', '"split_hash": image_set.sha256', "records/test_results.py::test_the_data_are_named_by_their_hashes"),
        ('"eps": threat.eps', '"eps": threat.step', "records/test_results.py::test_a_threat_is_stored_with_every_field_and_its_name"),
        ("for p in module.parameters())", "for p in list(module.parameters())[1:])", "records/test_results.py::test_the_parameters_of_a_net_are_all_of_its_numbers"),
    ],
    "experiments/columns.py": [
        ('attacked(f"transfer {plain.name}", threat=plain,', 'attacked(f"transfer {plain.name}", threat=fgsm(protocol.eps / 8, target="query"),', "experiments/test_rows.py::test_the_columns_of_a_record"),
        ("pgd(eps, CURVE_STEPS, eps / 4,", "pgd(eps, CURVE_STEPS, eps / 40,", "experiments/test_rows.py::test_the_columns_of_a_record"),
        ("protocol.steps, protocol.step, protocol.restarts", "protocol.steps, protocol.step / 10, protocol.restarts", "experiments/test_rows.py::test_the_columns_of_a_record"),
        ("replace(strong, target=target)", "strong", "experiments/test_rows.py::test_the_columns_of_a_record"),
        ("clean_tasks or budget.clean_tasks, budget.clean_query", "clean_tasks or budget.clean_tasks, budget.clean_query // 2", "experiments/test_rows.py::test_the_columns_of_a_record"),
    ],
    "experiments/testing.py": [
        ("evaluator.count_attacked(rows, column.threat, seed, start, keep, marks)", "evaluator.count_attacked(rows, column.threat, seed, 0, keep, marks)", "experiments/test_rows.py::test_attacked_columns_go_in_parts_that_name_their_first_task"),
        ("rows.query.shape[1] * column.query, seconds", "rows.query.shape[1] * manifest.n_query, seconds", "experiments/test_rows.py::test_a_row_has_every_column_and_they_are_what_evaluation_says"),
        ("return manifest.rows[: column.tasks].with_queries", "return manifest.rows[-column.tasks :].with_queries", "experiments/test_rows.py::test_a_row_has_every_column_and_they_are_what_evaluation_says"),
        ("(column.sigma, seed)", "(column.sigma, 0)", "experiments/test_rows.py::test_the_noise_of_a_column_follows_the_seed_of_the_protocol"),
        ("next(turns) == setting.ranks.number", "next(turns) == 0", "cli/test_ranks.py::test_two_processes_compute_the_same_bits"),
    ],
    "experiments/surrogate.py": [
        ("make_key(image_set.sha256, image_set.split_hash, seed", "make_key(image_set.sha256, seed", "experiments/test_rows.py::test_every_seed_and_split_has_a_surrogate_of_its_own"),
        ("make_key(image_set.sha256, image_set.split_hash, seed, epochs", "make_key(image_set.sha256, image_set.split_hash, epochs", "experiments/test_rows.py::test_every_seed_and_split_has_a_surrogate_of_its_own"),
    ],
    "experiments/setting.py": [
        ("setting.image_set, setting.split, protocol.way", 'setting.image_set, "val", protocol.way', "experiments/test_rows.py::test_the_first_tasks_are_the_same_whatever_their_number"),
        ("interval(counts / (rows.query[0].size)).sd", "interval(counts / (rows.query[0].size)).half_width", "experiments/test_rows.py::test_the_number_of_episodes_follows_from_the_precision"),
    ],
    "reports/tables.py": [
        (r'.replace("<!--", "&lt;!--")', "", "reports/test_rescore.py::test_the_name_of_an_attack_cannot_end_a_cell_or_a_table"),
        ('if "unknown_origin" in record:', "if False:", "cli/test_main.py::test_a_net_that_does_not_say_what_it_was_trained_on_is_marked"),
        ("OVERSTATED = 3.0", "OVERSTATED = 30.0", "reports/test_suites.py::test_a_row_whose_pgd_is_far_above_the_strong_attacks_says_so"),
        ("([escape_control(cell) for cell in line]", "([cell for cell in line]", "notebooks/test_class.py::test_names_of_submissions_do_not_command_the_terminal"),
        ("compare_paired(compute_accuracies(first)[:n], compute_accuracies(second)[:n]", "compare_paired(compute_accuracies(second)[:n], compute_accuracies(first)[:n]", "reports/test_tables.py"),
        ("accuracies(second)[:n], bootstrap", "accuracies(second)[-n:], bootstrap", "reports/test_tables.py"),
        ('or record["manifest"]["hash"] != base["manifest"]["hash"]', "", "reports/test_tables.py"),
        ('f"{seconds / base:.2f}"', 'f"{base / seconds:.2f}"', "reports/test_tables.py"),
        ('f"transfer {eps}": f"transfer FGSM {eps} query"', 'f"transfer {eps}": f"FGSM {eps} query"', "reports/test_tables.py"),
    ],
    "audit/reconstruction.py": [
        ("NUDGE = 5e-4", "NUDGE = 5e-3", "audit/test_reconstruction.py"),
        (".sum(-1).mean().abs().log()", ".abs().log().sum(-1).mean()", "audit/test_reconstruction.py"),
        ("return channels / batch", "return batch / channels", "audit/test_reconstruction.py"),
    ],
    "audit/published.py": [
        ("random.Random(TEST_SEED)", "random.Random(seed)", "audit/test_released_steps.py"),
        ("rng.seed(HELA_VFA_SEED)", "pass", "audit/test_released_steps.py::test_hela_vfa_leaks_unless_its_cell_runs_twice"),
        ("clamp(0, 255)", "clamp(0, 1)", "audit/test_released_steps.py"),
        ("rot90(3, (-2, -1)), x)", "rot90(1, (-2, -1)), x)", "audit/test_released_steps.py::test_augmentation_is_that_of_torchvision"),
    ],
    "experiments/consequences.py": [
        ('f"augmentation/{row}"', '"augmentation"', "experiments/test_consequences.py::test_an_image_is_turned_alike_in_every_batch"),
        ('f"noise/{row}"', 'f"other/{row}"', "experiments/test_consequences.py::test_the_noise_is_the_same_and_only_its_clipping_differs"),
        ("if name not in journal:", "if True:", "experiments/test_consequences.py::test_a_paused_run_goes_on_with_the_next_column"),
        (".reshape(-1, 1, 1)", ".reshape(1, 1, -1)", "experiments/test_consequences.py::test_alone_and_together_are_equal_but_for_a_head_that_couples_queries"),
    ],
    "audit/claims/joining.py": [
        ("_differ(PUBLISHED_LOSS, loss", "_differ(None, loss", "audit/test_claims.py::test_a_ranking_model_with_another_loss_is_farther_from_a_claim"),
        ("differences += _compare_split(record[\"data\"]) + _compare_training(record)", "pass", "audit/test_claims.py::test_any_difference_of_setting_is_seen"),
        (' - {"seed"} if usual', " if usual", "audit/test_claims.py::test_another_seed_is_the_same_setting"),
        ("<= candidate.half_width + half_width", "<= 2 * candidate.half_width + half_width", "audit/test_claims.py::test_in_the_same_setting_the_intervals_decide"),
        ("NEARLY_ALL = 0.99", "NEARLY_ALL = 0.3", "audit/test_claims.py::test_another_setting_is_named_and_never_judged"),
        ('or "seen" in record', "", "audit/test_claims.py::test_what_is_another_question_is_no_measurement_of_the_claim"),
        ("key=lambda c: (len(c.differences), c.rank)", "key=lambda c: c.rank", "audit/test_claims.py::test_the_nearest_record_stands_beside_a_claim"),
    ],
    "audit/defects/committed.py": [
        ("for name in (reference, row))", "for name in (row, reference))", "audit/test_defects.py::test_records_are_read_where_they_are"),
        ("for name in (reference, encoder))", "for name in (encoder, reference))", "audit/test_defects.py::test_records_are_read_where_they_are"),
    ],
    "audit/recompute/arithmetic.py": [
        ("/ (n - 1)\n", "/ n\n", "audit/test_recompute.py::test_the_arithmetic_is_that_of_other_libraries"),
        ("100 * (b / second", "100 * (a / second", "audit/test_recompute.py::test_the_arithmetic_is_that_of_other_libraries"),
        ("if not abs(stored - computed) <= tolerance:", "if abs(stored - computed) > 100 * tolerance:", "audit/test_recompute.py::test_an_altered_number_is_named"),
        ("rcond=None)\n    covariance = float(residual[0]) / (n - classes)", "rcond=None)\n    covariance = float(residual[0]) / n", "records/test_answers.py::test_it_is_computed_again_and_an_altered_one_is_named"),
        ("if stored.strip() != computed:", "if len(stored.strip()) != len(computed):", "audit/test_recompute_pages.py::test_any_printed_number_that_somebody_altered_is_named"),
    ],
    "audit/recompute/printed.py": [
        ("limit.quantize(Decimal(1).scaleb(place), ROUND_CEILING)", "limit.quantize(Decimal(1).scaleb(place))", "audit/test_recompute.py::test_p_values_and_lines_are_those_of_other_libraries"),
    ],
    "audit/recompute/studies.py": [
        ("[math.fsum(episode) / len(episode) for episode in", "[math.fsum(episode) for episode in", "audit/test_recompute_pages.py::test_the_parts_of_an_ablation_are_computed_over_seeds"),
    ],
    "audit/recompute/levels.py": [
        ("again.argmin(0) == first", "again.argmin(0) >= 0", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
        ("p < 0.001 else", "p < 0.05 else", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
    ],
    "audit/recompute/ranking.py": [
        ("100 * (1 - v)", "100 * (1 + v)", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
    ],
    "audit/recompute/reconstruction.py": [
        ("before = min(losses[:", "before = max(losses[:", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
        ("height + slope / floor[\"images\"]", "floor[\"value\"]", "audit/test_recompute.py::test_a_record_that_somebody_edited_is_named"),
    ],
    "audit/recompute/records.py": [
        ('sum(after["correct"]) < sum(before["correct"])', 'record["falls"]', "audit/test_recompute.py::test_a_record_that_somebody_edited_is_named"),
        ('part["broken"], 0)', 'part["broken"], part["broken"])', "audit/test_recompute.py::test_a_record_that_somebody_edited_is_named"),
        ('radius if f" {radius} " in f"{name} " else "another"', "radius", "audit/test_recompute.py::test_a_record_that_somebody_edited_is_named"),
    ],
    "audit/recompute/pages.py": [
        ("label if cell.taken else", "label if True else", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
    ],
    "audit/recompute/episodes.py": [
        ('manifest["hash"], computed)', 'computed, computed)', "audit/test_recompute.py::test_the_episodes_of_a_manifest_are_drawn_again"),
    ],
    "audit/recompute/claimed.py": [
        ("if gap < 0 else", "if gap > 0 else", "audit/test_recompute_pages.py::test_a_claim_is_judged_by_its_intervals"),
    ],
    "audit/recompute/few_shot.py": [
        ('heading.startswith("mean over ") or', "False or", "audit/test_recompute_pages.py::test_what_pages_print_is_computed_too"),
    ],
    "publish/print_form.py": [
        ("escape=True, plugins", "escape=False, plugins", "publish/test_print_form.py::test_tables_and_boxes_are_html_and_what_looks_like_it_is_not"),
        ('plugins=["table", "task_lists"]', 'plugins=["task_lists"]', "publish/test_print_form.py"),
    ],
    "reports/rescore.py": [
        ("if of > sent else", "if False else", "reports/test_rescore.py::test_images_of_a_part_of_the_episodes_say_so"),
    ],
    "reports/sizes.py": [
        ("and steps != count_pretrained(first)", "and not count_pretrained(first)", "reports/test_tables.py::test_a_caption_names_the_rows_that_were_pretrained"),
        ("if size != first[1]:", "if False:", "reports/test_ablation.py::test_nets_of_two_encoders_are_no_ablation"),
        ('(steps := count_trained(record)) and steps', "(steps := 0) and steps", "reports/test_tables.py::test_a_caption_names_rows_of_another_encoder_or_length"),
    ],
    "core/packages.py": [
        ("if find_spec(name) is None", "if not name", "core/test_packages.py::test_every_missing_package_is_named_with_the_extra_that_has_it"),
    ],
    "audit/defects/registry.py": [
        ("read() if read else None", "None", "audit/test_defects.py::test_the_command_says_what_records_say"),
    ],
    "audit/multilevel.py": [
        ("means / c + spreads / c**2", "means / c + spreads / c", "audit/test_multilevel.py"),
        ("reduce=\"sum\")\n\n\n@full_precision\ndef kl", "reduce=\"mean\")\n\n\n@full_precision\ndef kl", "audit/test_multilevel.py"),
    ],
    "audit/surrogate.py": [
        ("momentum=0.01) for width", "momentum=0.1) for width", "audit/test_surrogate.py::test_its_running_statistics_move_by_a_hundredth"),
        ("return images + eps * gradient.sign()", "return (images + eps * gradient.sign()).clamp(0, 1)", "audit/test_surrogate.py"),
        (">= DROPOUT", "<= DROPOUT / 2", "audit/test_surrogate.py"),
    ],
    "cli/commands/arguments.py": [
        ('min(changes["attacked_tasks"], budget.curve_tasks)', 'changes["attacked_tasks"]', "cli/test_main.py::test_options_reach_budget_and_protocol"),
        ("arguments), seed=options.seed)", "arguments))", "cli/test_main.py::test_options_reach_the_recipe"),
    ],
    "cli/commands/fewshot.py": [
        ('{100 * v:.1f} %" for', '{10 * v:.1f} %" for', "cli/test_main.py::test_train_evaluate_and_a_half_width"),
        ("point[\"step\"] == about[\"best_step\"]", "point is about[\"history\"][0]", "cli/test_main.py::test_the_printed_accuracy_is_of_the_net_that_is_written"),
        ("100 * share:.1f} %", "share:.1f} %", "cli/test_main.py::test_predict_names_photos"),
    ],
    "course/lesson.py": [
        ("any(a >= b for a, b", "any(a > b for a, b", "course/test_lesson.py::test_numbers_have_to_ascend"),
        ("is_short and _are_numbers", "_are_numbers", "course/test_lesson.py::test_a_control_fits_its_choices"),
    ],
    "course/capstone.py": [
        ("self.robust.mean - self.robust.half_width <= 0", "self.robust.mean <= 0", "course/test_capstone.py::test_a_verdict_asks_for_a_sure_gain_at_a_small_price"),
        ("if net.origin is None:", "if False:", "course/test_capstone.py::test_who_has_seen_a_test_class_or_hides_its_origin_is_not_admitted"),
    ],
    "course/exercises/checking.py": [
        ('judge(number, answer).startswith("passed") else', 'judge(number, answer) else', "notebooks/test_exercises.py::test_a_notebook_goes_on_with_a_right_answer_and_else_with_the_solution"),
        ("exercise.find_fault(got, *exercise.cases()[k])", "exercise.find_fault(exercise.solution(*exercise.cases()[k]), *exercise.cases()[k])", "notebooks/test_exercises.py::test_an_attack_is_checked_by_its_promises"),
        ("got = answer(*exercise.cases()[k])", "got = answer(*shown[k])", "notebooks/test_answers.py::test_an_unusual_right_answer_passes"),
        ("if _agree(exercise, answer, mistake):", "if True:", "notebooks/test_exercises.py::test_wrong_answers_do_not_pass_and_are_told_why"),
    ],
    "course/exercises/toys.py": [
        ("> eps + SLACK", "> 10 * eps", "notebooks/test_exercises.py::test_an_attack_is_checked_by_its_promises"),
    ],
    "course/exercises/strong_attacks.py": [
        ("margins < wanted - 1e-3", "margins < wanted - 1e9", "notebooks/test_exercises.py::test_wrong_answers_do_not_pass_and_are_told_why"),
        ("slope is None or (slope - 1).abs().max() > 1e-6", "slope is None", "notebooks/test_exercises.py::test_wrong_answers_do_not_pass_and_are_told_why"),
    ],
    "course/exercises/training.py": [
        ("if off > 1e-4:", "if off > 1e4:", "notebooks/test_exercises.py::test_wrong_answers_do_not_pass_and_are_told_why"),
    ],
    "reports/figures.py": [
        ("j, k, f\"{value:.0f}\"", "k, j, f\"{value:.0f}\"", "reports/test_figures.py::test_a_matrix_shows_every_value_at_its_place_and_leaves_gaps_blank"),
    ],
    "reconstruction/refusals.py": [
        ("if broken := [name for name, values in measures.items() if not values.isfinite().all()]", "if broken := []", "experiments/test_reconstruction.py::test_a_net_whose_numbers_are_not_finite_is_refused_and_the_records_stay"),
        ("(decoded == decoded[:1]).all()", "decoded.isnan().any()", "experiments/test_reconstruction.py::test_an_autoencoder_that_decodes_one_picture_whatever_it_sees_has_no_record"),
        ("(features == features[:1]).all()", "features.isnan().any()", "experiments/test_reconstruction.py::test_an_extractor_that_sees_nothing_measures_nothing"),
    ],
    "experiments/reconstruction_plan.py": [
        ("if rows.count(row) > 1]", "if rows.count(row) > 9]", "experiments/test_reconstruction.py::test_models_of_one_name_are_refused_before_training"),
    ],
    "fewshot/prediction.py": [
        ("if (logits == logits[:, :1]).all():", "if logits.isnan().any():", "fewshot/test_prediction.py::test_a_net_that_gives_all_classes_the_same_logit_names_none"),
    ],
    "data/readers/split_names.py": [
        ("set() if None in parts else", "set() if parts else", "data/test_strangers_folders.py::test_a_split_that_cannot_be_read_is_refused_and_not_drawn"),
        ("|classes|class|labels?", "|labels?", "data/test_strangers_folders.py::test_lists_of_classes_tables_and_json_are_read_too"),
    ],
    "data/readers/items.py": [
        (' or name in SYSTEM_FOLDERS', "", "data/test_strangers_folders.py::test_folders_of_a_system_are_no_classes_and_those_without_images_are_named"),
    ],
    "cli/commands/levels.py": [
        (" pause=pause,", "", "experiments/test_levels.py::test_the_verb_stops_after_its_minutes_and_says_what_training_noticed"),
    ],
    "core/paths.py": [
        ("        yield made\n", "        made = folder\n        made.mkdir(exist_ok=True)\n        yield made\n        return\n", "core/test_randomness_and_paths.py::test_a_folder_is_filled_whole_or_not_at_all"),
        ("if file.read(len(start.encode())) == start.encode():", "if file:", "notebooks/test_class.py::test_grades_replace_grades_and_nothing_else"),
    ],
    "experiments/levels.py": [
        ('(setting.image_set, "val", *sizes)', '(setting.image_set, "test", *sizes)', "experiments/test_levels.py::test_fusions_are_fitted_to_episodes_of_the_validation_classes"),
        ('scores["val"], make_query_labels(manifests["val"])', 'scores["test"], make_query_labels(manifests["test"])', "experiments/test_levels.py::test_fusions_are_fitted_to_episodes_of_the_validation_classes"),
    ],
    "settings.py": [
        ('changes.get("eps", self.eps) / 4', 'changes.get("eps", self.eps) / 40', "cli/test_main.py::test_options_reach_budget_and_protocol"),
        ('flags=("--train-eps",))] = 8 / 255', 'flags=("--train-eps",))] = 4 / 255', "test_settings.py"),
        ("metavar=PIXELS)] = 8 / 255\n    step", "metavar=PIXELS)] = 8 / 256\n    step", "test_settings.py experiments/test_rows.py::test_the_columns_of_a_record"),
        ("temperature: float = 0.1", "temperature: float = 1.0", "test_settings.py"),
        ("clip: float = 10.0", "clip: float = 0.1", "test_settings.py"),
    ],
}
