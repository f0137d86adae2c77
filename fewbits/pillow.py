"""`import fewbits.pillow` makes Pillow open and save `.fwb` pictures.

    import fewbits.pillow
    from PIL import Image

    Image.open("photo.jpg").save("photo.fwb", quality=40)
    Image.open("photo.fwb").show()
"""

from fewbits.apps.pillow_plugin import register

register()
