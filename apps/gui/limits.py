"""How much one visitor of the page may ask for."""

UPLOAD = "200mb"
SECONDS = 15 * 60.0  # of work on one result
PIXELS = 50_000_000  # of a picture
FILM_PIXELS = 120_000_000  # of all frames, which lie in memory
SAMPLES = 60_000_000  # of a sound, all channels together
AT_ONCE = 2  # results that are worked on; others wait
WAITING = 20
