"""The possible ranges of Data-Juicer's statistics, by their definitions."""

from __future__ import annotations

import math

Range = tuple[float, float]

ANYTHING: Range = (-math.inf, math.inf)
NON_NEGATIVE: Range = (0.0, math.inf)
UNIT: Range = (0.0, 1.0)

RANGES: dict[str, Range] = {
    "alnum_ratio": UNIT,
    "alpha_token_ratio": NON_NEGATIVE,
    "aspect_ratios": NON_NEGATIVE,
    "audio_duration": NON_NEGATIVE,
    "audio_sizes": NON_NEGATIVE,
    "avg_line_length": NON_NEGATIVE,
    "char_rep_ratio": UNIT,
    "face_counts": NON_NEGATIVE,
    "face_ratios": UNIT,
    "flagged_words_ratio": UNIT,
    "image_height": NON_NEGATIVE,
    "image_nsfw_score": UNIT,
    "image_sizes": NON_NEGATIVE,
    "image_text_matching_score": UNIT,
    "image_watermark_prob": UNIT,
    "image_width": NON_NEGATIVE,
    "lang_score": UNIT,
    "llm_perplexity": NON_NEGATIVE,
    "max_line_length": NON_NEGATIVE,
    "num_action": NON_NEGATIVE,
    "num_dependency_edges": NON_NEGATIVE,
    "num_token": NON_NEGATIVE,
    "num_words": NON_NEGATIVE,
    "perplexity": NON_NEGATIVE,
    "phrase_grounding_recall": UNIT,
    "special_char_ratio": UNIT,
    "stopwords_ratio": UNIT,
    "text_len": NON_NEGATIVE,
    "video_aspect_ratios": NON_NEGATIVE,
    "video_duration": NON_NEGATIVE,
    "video_height": NON_NEGATIVE,
    "video_motion_score": NON_NEGATIVE,
    "video_nsfw_score": UNIT,
    "video_ocr_area_ratio": UNIT,
    "video_watermark_prob": UNIT,
    "video_width": NON_NEGATIVE,
    "word_rep_ratio": UNIT,
}
"""By the name of the statistic. `alpha_token_ratio` counts characters per token, so it may be above 1."""
