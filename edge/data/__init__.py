"""Readers and makers of video data.

To add a reader: give its word a place in `specs` (kind, parts, choices) and in
`registry.read_real`, and write `open_KIND(root, shape, report, ...)` in a module of its own, which

1. reads the annotation row by row, with `table.read_table` or `table.csv_rows`, and names each
   wrong row by `report.wrong`; where `strict`, `report.refuse_wrong_rows` ends it there;
2. opens the videos by `media.open_named`, which leaves out what cannot be decoded;
3. puts keyframes, people and labels together by `video_clips.build_table`, boxes as shares of the
   frame (`video_clips.clips_of_table` does it for tables in AVA's style);
4. returns `VideoClips`, or a subclass that knows more of a clip (`without_frames`).
"""
