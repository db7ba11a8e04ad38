"""Everyday sounds by name, for `build_sound_labels.py`.

Each recipe takes a random generator and gives five seconds of mono sound at 44.1 kHz, float64
[220_500]. They are ours, so no licence binds them, and they provide a first example for names for
which no freely licensed recording was found.
"""

from __future__ import annotations

from collections.abc import Callable

import sounds_of_the_living as living
import sounds_of_things as things
from numpy.random import Generator
from sound_synthesis import Samples

SOUNDS: dict[str, Callable[[Generator], Samples]] = {
    "rain falling": things.rain,
    "sea waves on a beach": things.waves,
    "wind blowing": things.wind,
    "fire crackling": things.fire,
    "a stream of water flowing": things.stream,
    "water dripping": things.drip,
    "thunder": things.thunder,
    "a clock ticking": things.clock,
    "a helicopter": things.helicopter,
    "a chainsaw": things.saw,
    "an engine running": things.engine,
    "an airplane flying": things.airplane,
    "a vacuum cleaner": things.vacuum,
    "an electric drill": things.drill,
    "a train on its rails": things.train,
    "a train horn": things.train_horn,
    "a siren wailing": things.siren,
    "an ambulance or fire engine": things.two_tone,
    "an alarm beeping": things.alarm,
    "a beep": things.beep,
    "a telephone ringing": things.phone,
    "church bells ringing": things.church_bell,
    "a doorbell": things.door_bell,
    "a car horn honking": things.horn,
    "knocking on a door": things.knock,
    "footsteps": things.footsteps,
    "clapping hands": things.clapping,
    "an audience applauding": things.applause,
    "typing on a keyboard": things.typing,
    "glass breaking": things.glass,
    "an explosion": things.explosion,
    "a gunshot": things.gunshot,
    "fireworks": things.fireworks,
    "crickets chirping": living.crickets,
    "a bee buzzing": living.bee,
    "a mosquito buzzing": living.mosquito,
    "birds chirping": living.chirps,
    "a cuckoo calling": living.cuckoo,
    "an owl hooting": living.owl,
    "a rooster crowing": living.rooster,
    "a hen clucking": living.hen,
    "a dog barking": living.dog,
    "a cat meowing": living.cat,
    "a cow mooing": living.cow,
    "a sheep bleating": living.sheep,
    "a frog croaking": living.frog,
    "a baby crying": living.baby,
    "a person sneezing": living.sneeze,
    "a person coughing": living.cough,
    "people laughing": living.laugh,
    "a person snoring": living.snore,
    "a person breathing": living.breath,
    "a heartbeat": living.heartbeat,
    "a whistle blown": living.whistle,
    "a person whistling a tune": living.tune,
    "a whoosh": things.whoosh,
    "radio static": things.static,
    "an electric hum": things.hum,
    "a laser gun": things.laser,
    "air hissing": things.hiss,
    "sawing wood": things.sawing,
    "hammering": things.hammer,
    "white noise": things.white_noise,
}
