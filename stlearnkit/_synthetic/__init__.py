"""The parts that `synthetic` puts together, in the order of a section's making.

`tissue` grows a block, `warp` says how a section of it was handled, `nuclei` sows
nuclei in what the section sees, `staining` draws the slide, `transcripts` the counts.
"""
