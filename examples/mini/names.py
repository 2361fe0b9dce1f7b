"""Invented names: every proper name of the miniature world is put together here from syllables.

Promise: names are plain ASCII, each word is one capital followed by lower-case letters (so the tokenizer sees the
same word everywhere), and there are enough combinations (people 7 million, places and works 200,000 and more) that
independent draws hardly ever meet.
"""

from __future__ import annotations

from random import Random


def words(text: str) -> list[str]:
    return text.split()


FIRST_STARTS = words(
    "Al An Ar Bel Bri Cal Cor Da Del Do El Em Fa Fen Gar Gwe Ha Hel Il Is Jo Jun Ka Kel La Lin Lo Ma Mel Mi Na Nor "
    "Ol Or Pa Per Ra Ros Sa Sel Ta Tam Tor Ul Va Vel Wil Yo Za Zel"
)
FIRST_ENDS = words(
    "da dan dor dra ena eth fin gar ian ila ina iro ka la len lia lis lor ma mar mina mon na nel nia nor ra ric rin ro "
    "sa sen ta tha tio tor va vin vor wen"
)
LAST_STARTS = words(
    "Ash Bal Bar Ben Black Bram Brin Bur Car Cas Clay Crom Dal Den Dray Dun Ed Fal Far Fox Gal Glen Gold Gran Had "
    "Hal Hart Haw Hol Kan Ken Kirk Lan Lang Lock Mal Mar Mer Mil Mor Nash Nor Oak Pen Pem Quin Rad Red Rook Sand "
    "Shaw Stan Ster Tal Tan Thorn Til Wal Wes Whit"
)
LAST_ENDS = words(
    "acre beck bell berg born bourne bridge brook by cliff combe cott croft den fell field foot gate grave hart "
    "hill hurst kin land ley lock low man mere mond more ness ridge sby sham shaw sley son stead ster stone street "
    "thorpe thwaite ton vale wall ward well wick wood worth yard"
)
PLACE_STARTS = words(
    "Ab Ad Ak Am Bas Bel Ber Bol Bor Cad Cal Cam Cel Cor Dar Dem Dol Dor Eb El Es Fal Fer Fin Gal Gor Gul Had Hel "
    "Hos Il Im Jar Jel Kal Kar Kes Kol Kor Lam Las Lem Lor Lum Mal Mar Mes Mol Nar Nel Nim Nov Ob Os Pal Pel Pol "
    "Por Qual Ral Ras Rim Rol Sar Sel Sil Sol Sum Tal Tar Tel Tol Tur Ul Um Val Var Vel Vol Vor Wal Wen Yar Yel "
    "Zam Zar Zel Zor"
)
PLACE_MIDDLES = words(
    "a ab ad al am an ar as e el em en er es i il im in ir is o ol om on or os u ul um un ur us an da do ga go ka ko "
    "la lo ma mo"
)
PLACE_ENDS = words(
    "bar burg cas cester chon dale dor dra dun fall fath ford gard gate grad ham haven holm kar kesh lan lin lun "
    "mark mere mia mont mouth nax nia nor pol port quay ra rest rin ris ros sand shire sk stan stow tas ther tis "
    "ton val var vik ville vos wich zan"
)
WORK_NOUNS = words(
    "Anchor Apple Archer Arrow Autumn Banner Beacon Bell Blossom Bride Candle Canvas Captain Carnival Castle Chain "
    "Chapel Circle Clock Cloud Compass Courier Crown Dancer Dawn Diary Door Dream Eagle Echo Ember Exile Falcon "
    "Feather Fiddler Fire Fountain Garden Ghost Glass Harbor Harvest Heron Hunter Island Jester Journey Key King "
    "Lantern Legend Letter Lion Machine Mask Merchant Mirror Moon Mountain Night Oath Orchard Pilgrim Promise Queen "
    "Raven Rose Sailor Season Secret Shadow Shepherd Song Sparrow Storm Stranger Summer Swan Sword Thief Tide "
    "Traveler Treasure Voyage Window Winter Witness Wolf"
)
PUBLISHERS = words("Press House Guild Company Theatre Studio Gallery Society")
INSTITUTIONS = words("Academy College Institute Library Museum Observatory Archive Foundry Hospital Bank")
AWARDS = words("Prize Medal Award Ribbon Cup Trophy Cross Star")
LANDMARKS = words("Tower Bridge Abbey Palace Lighthouse Arena Fountain Cathedral Windmill Citadel")


def person_name(rng: Random) -> str:
    """Draw a person's name, like "Melina Thornbeck"."""
    first = rng.choice(FIRST_STARTS) + rng.choice(FIRST_ENDS)
    return f"{first} {rng.choice(LAST_STARTS)}{rng.choice(LAST_ENDS)}"


def place_name(rng: Random) -> str:
    """Draw a place's name, like "Kalenport"."""
    return rng.choice(PLACE_STARTS) + rng.choice(PLACE_MIDDLES) + rng.choice(PLACE_ENDS)


def proper_word(rng: Random) -> str:
    """Draw a two-syllable proper word, like "Kalport": the first half of a named thing, or a river."""
    return rng.choice(PLACE_STARTS) + rng.choice(PLACE_ENDS)


def work_name(rng: Random) -> str:
    """Draw a work's name, like "The Kalport Lantern"."""
    return f"The {proper_word(rng)} {rng.choice(WORK_NOUNS)}"


def named_thing(rng: Random, nouns: list[str]) -> str:
    """Draw the name of a thing, like "Kalport Medal"."""
    return f"{proper_word(rng)} {rng.choice(nouns)}"
