"""The 80 things of COCO, and which of them a text names."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

# COCO's names, with other words for the thing and for its kinds. Written by hand from general knowledge; the lists that
# others made for captions (Rohrbach et al., EMNLP 2018) are of the same kind. "builder" to "mascot" were added after a
# look at the texts of SJTU-TIS that named nothing.
_WORDS = """
person: people, human, man, woman, boy, girl, child, kid, baby, infant, toddler, guy, lady, gentleman, male, female,
    adult, youth, teenager, teen, someone, somebody, anyone, crowd, audience, couple, team, family, mother, mom, mum,
    father, dad, parent, grandmother, grandfather, son, daughter, brother, sister, husband, wife, bride, groom, friend,
    player, batter, hitter, pitcher, catcher, umpire, referee, coach, athlete, goalie, runner, jogger, swimmer, surfer,
    skier, snowboarder, skateboarder, skater, rider, cyclist, biker, bicyclist, motorcyclist, horseman, jockey, cowboy,
    driver, passenger, pedestrian, commuter, traveler, traveller, tourist, visitor, spectator, bystander, onlooker,
    worker, chef, cook, baker, waiter, waitress, bartender, vendor, seller, shopper, customer, farmer, fisherman,
    soldier, officer, policeman, policewoman, cop, police, fireman, firefighter, guard, sailor, pilot, doctor, nurse,
    teacher, student, pupil, businessman, businesswoman, clown, dancer, singer, musician, guitarist, drummer, bandmate,
    performer, actor, actress, photographer, artist, painter, speaker, camper, hiker, climber, shepherd, nun,
    priest, monk, king, queen, santa, individual, teammate, opponent, builder, bowler, volunteer, staff, band, everyone,
    beachgoer, shearer, mascot, tennis player, ball player
bicycle: bike, cycle, tricycle, unicycle
car: automobile, van, minivan, sedan, suv, hatchback, cab, taxi, jeep, limousine, limo, convertible, vehicle
motorcycle: motorbike, motor bike, motor cycle, scooter, moped, vehicle
airplane: aeroplane, plane, aircraft, jet, jetliner, airliner, biplane, seaplane, jumbo jet, fighter jet
bus: minibus, coach bus, double decker, trolley bus, vehicle
train: locomotive, tram, subway, metro, railcar, streetcar, train car, steam engine
truck: lorry, pickup, pick-up, fire engine, firetruck, fire truck, semi truck, tow truck, dump truck, vehicle
boat: ship, sailboat, motorboat, rowboat, canoe, kayak, yacht, ferry, barge, gondola, raft, dinghy, vessel, speedboat
traffic light: traffic signal, stoplight, stop light, signal light
fire hydrant: hydrant
stop sign:
parking meter: meter
bench: pew
bird: pigeon, dove, duck, goose, swan, seagull, gull, parrot, owl, eagle, hawk, sparrow, crow, raven, pelican, ostrich,
    chicken, hen, rooster, peacock, flamingo, penguin, heron, stork, cockatoo, finch, robin, animal
cat: kitten, kitty, feline, animal
dog: puppy, pup, hound, canine, terrier, retriever, poodle, bulldog, labrador, shepherd dog, sheepdog, dachshund, animal
horse: pony, foal, mare, stallion, colt, mule, donkey, animal
sheep: lamb, ewe, goat, animal
cow: cattle, calf, bull, ox, oxen, bison, buffalo, heifer, animal
elephant: animal
bear: polar bear, grizzly, cub, panda, animal
zebra: animal
giraffe: animal
backpack: rucksack, knapsack, back pack, bag
umbrella: parasol
handbag: purse, bag, shoulder bag, tote, satchel
tie: necktie, bow tie, bowtie
suitcase: luggage, briefcase, suit case, bag
frisbee: flying disc, flying disk, disc, disk
skis: ski
snowboard: snow board, board
sports ball: ball, baseball, basketball, football, soccer ball, tennis ball, volleyball, golf ball, bowling ball
kite:
baseball bat: bat
baseball glove: glove, mitt, baseball mitt
skateboard: skate board, longboard, board
surfboard: surf board, paddleboard, board
tennis racket: racket, racquet, tennis racquet
bottle: flask, water bottle, wine bottle
wine glass: wineglass, glass, goblet, champagne glass
cup: mug, glass, teacup, coffee cup, tumbler, coffee, tea, beverage
fork:
knife: blade, dagger
spoon: ladle, teaspoon
bowl: dish
banana: plantain, fruit
apple: fruit
sandwich: burger, hamburger, cheeseburger, panini, burrito, toast, food
orange: mandarin, tangerine, clementine, fruit
broccoli: vegetable, veggie
carrot: vegetable, veggie
hot dog: hotdog, sausage, frankfurter, food
pizza: pepperoni, slice of pizza, food
donut: doughnut, pastry, bagel, food
cake: cupcake, cheesecake, dessert, muffin, pie, brownie, food
chair: seat, armchair, stool, rocking chair, wheelchair, recliner, lounge chair
couch: sofa, loveseat, settee, futon
potted plant: plant, houseplant, flowerpot, flower pot, pot plant, house plant, potted flower, potted tree, pot
bed: mattress, crib, cot, bunk bed
dining table: table, desk, tabletop, table top, coffee table, counter, countertop
toilet: urinal, commode
tv: television, tv set, screen, monitor, computer monitor, computer screen, flat screen, computer
laptop: notebook computer, laptop computer, macbook, computer
mouse: computer mouse
remote: remote control, controller, wii remote, wiimote, game controller
keyboard: computer keyboard
cell phone: phone, cellphone, mobile phone, mobile, telephone, smartphone, iphone, smart phone
microwave: microwave oven
oven: stove, stovetop
toaster: toaster oven
sink: basin, washbasin, faucet
refrigerator: fridge, freezer, icebox
book: textbook, novel, magazine, notebook
clock: clock tower, wristwatch, timepiece, clock face, alarm clock
vase: pot, urn
scissors: scissor, shears
teddy bear: teddy, stuffed animal, stuffed bear, plush, doll, soft toy, stuffed toy, toy bear
hair drier: hair dryer, hairdryer, blow dryer, blow drier
toothbrush: tooth brush
"""

_IRREGULAR_PLURALS = MappingProxyType(
    {
        "men": "man",
        "women": "woman",
        "children": "child",
        "geese": "goose",
        "mice": "mouse",
        "knives": "knife",
        "wives": "wife",
        "calves": "calf",
        "oxen": "ox",
    }
)

# A name in front of one of these says what kind it is: a train station is no train.
_HEADS = """
station stations stop platform court courts field fields game games match race uniform uniforms jersey house houses shed
room rooms shelf shelves case store shop cover paper cloth collar leash food box boxes park lane lanes stand yard track
tracks cage lamp window windows door doors handle wheel wheels tire tires seatbelt dock harbor trail path ramp lift
slope suit booth hat
"""

VOCABULARY = _WORDS + _HEADS
"""What decides which things a text names, as one text."""

_OTHER_HEADS = frozenset(_HEADS.split())
# "Orange" is a fruit at the end of a phrase alone, elsewhere a colour.
_FUNCTION_WORDS = "on in at with and or of next near by is are under over behind beside to that which"
_AFTER_A_PHRASE = frozenset(_FUNCTION_WORDS.split())
_MAN = re.compile(r"(?!ger|ro|otto|snow|hu|wo)[a-z]{3,}(man|woman)")  # a fisherman, no Roman
_LONGEST_NAME = 3  # words


_LINES = re.sub(r"\n +", " ", _WORDS.strip()).splitlines()

NAMES = tuple(line.partition(":")[0] for line in _LINES)
"""COCO's names of its 80 things, in its order."""


def _read_words() -> Mapping[str, tuple[int, ...]]:
    """The numbers of the things that a word, or several words together, may name."""
    found: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(_LINES):
        name, _, others = line.partition(":")
        for word in (name, *filter(None, map(str.strip, others.split(",")))):
            found[word] = (*found.get(word, ()), number)
    for number, name in enumerate(NAMES):
        found[name] = (number,)  # a name is never also another's word
    return MappingProxyType(found)


_NUMBERS = _read_words()


def named_things(text: str) -> list[tuple[int, ...]]:
    """The things of COCO that an English text names, in the order of the text.

    Singular and plural, and other words for a thing; the longest name counts ("hot dog" is no dog), and a name in front
    of another one does not ("bus driver" is a person).

    Args:
        text: Any text.

    Returns:
        For each mention the numbers of the things it may mean in :data:`NAMES`: "dog" means one, "animal" ten. Empty
        where nothing is named, and for texts in other languages.
    """
    words = re.findall(r"[a-z]+", text.lower().replace("t.v", "tv").replace("-", " "))
    found, start = [], 0
    while start < len(words):
        longest = min(_LONGEST_NAME, len(words) - start)
        length = next((n for n in range(longest, 0, -1) if _numbers(words[start : start + n])), 0)
        if length:
            rest = words[start + length :]
            numbers = _numbers(words[start : start + length])
            if not _is_modifier(words[start + length - 1], rest):
                found.append(numbers)
        start += max(1, length)
    return found


def _is_modifier(word: str, rest: list[str]) -> bool:
    """Whether a name whose last word this is says only what kind the thing is that follows it."""
    if not rest:
        return False
    if word == "orange":
        return rest[0] not in _AFTER_A_PHRASE
    if word not in _NUMBERS:  # a kind is named in the singular
        return False
    is_person = _NUMBERS[word] == _NUMBERS["person"]  # in front of a verb: "a man stands"
    named_next = any(_numbers(rest[:length]) for length in range(1, _LONGEST_NAME + 1))
    return named_next or (rest[0] in _OTHER_HEADS and not is_person)


def _numbers(words: list[str]) -> tuple[int, ...]:
    """The things that some words name together; empty if none."""
    if not words:
        return ()
    for last in (words[-1], *_singulars(words[-1])):
        name = " ".join([*words[:-1], last])
        if name in _NUMBERS:
            return _NUMBERS[name]
        if _MAN.fullmatch(name):
            return _NUMBERS["man"]
    return ()


def _singulars(word: str) -> Iterator[str]:
    """What a word may be the plural of, itself first."""
    yield word
    if word in _IRREGULAR_PLURALS:
        yield _IRREGULAR_PLURALS[word]
    elif word.endswith("men"):
        yield f"{word[:-3]}man"
    elif word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
        if word.endswith("ies"):
            yield f"{word[:-3]}y"
        if word.endswith("es"):
            yield word[:-2]
