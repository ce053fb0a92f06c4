"""Makes up mailing-list threads, each with the two-sentence summary that its facts call for.

Every thread is drawn from a small grammar of acts (somebody reports, proposes, asks, objects, promises ...). An act
has the sentence as it stands in the mail and the fragment that a summary says about it; the fragment repeats the
mail's own words, so that a model can only get it right by reading and copying. Names, products and half of the nouns
are drawn from wide lists (WordNet's words and example sentences, and syllables), so nothing can be learned by heart.

Nothing here reads the evaluation threads in deploy/local/sample.
"""
import random
import re
from dataclasses import dataclass, field

WORDNET_DIR = "/usr/share/wordnet"  # Debian's wordnet-base

FIRST = """Anna Boris Carla David Elena Farid Greta Hugo Ines Jakub Karin Lars Mira Nadia Oskar Paula Quentin Rosa
Stefan Tomas Ulla Viktor Wanda Xenia Yusuf Zofia Amir Beatriz Cedric Dagmar Emil Fatima Gustav Hanna Igor Judit Kenji
Leila Marco Noor Olga Pedro Ravi Selma Tariq Ursula Vera Wim Yara Zeno Agnes Bruno Chloe Diego Esther Fiona Gabriel
Helena Ivan Joana Klaus Lucia Marta Nils Oriol Petra Rafael Sanna Teresa Uwe Valeria Walter Ylva Zara Aiko Bjorn Carmen
Dorota Erik Frida Goran Hilde Imre Jana Kofi Linnea Mateo Nina Otto Priya Rene Sofia Theo Una Vlad Wen Yann Zuzana Ade
Bela Ciara Dina Eamon Flora Gil Heidi Isak Jonas Kira Luca Maya Neil Odile Pavel Ruth Simon Tove Urs Vito Milan Sara
Peter Julia Martin Laura Daniel Sven Eva Adam Alice Ben Claire Dan Ellen Frank George Harriet Ian Jane Kevin Lisa Mark
Nora Oliver Pam Rachel Sam Tina Victor Wendy Zoe""".split()
LAST = """Almeida Bauer Costa Dvorak Eriksen Fischer Garcia Hansen Ivanov Jansen Kovacs Larsen Moreau Novak Okafor
Petrov Quist Rossi Silva Tanaka Ueda Virtanen Weber Yilmaz Zimmer Andersson Brandt Cohen Diaz Engel Ferrari Gruber Holm
Iqbal Jensen Keller Lind Marino Nowak Olsen Pereira Ramos Schmidt Torres Urban Vogel Wolf Young Zeman Baker Carter Dunn
Ellis Ford Grant Hughes Irwin Jones Kelly Lowe Mills Nash Owens Price Quinn Reed Shaw Turner Vance Walsh York Becker
Chen Dubois Farkas Gomez Haas Ito Kaya Lopez Meyer Nagy Ortiz Park Rao Sato Thomsen Varga Wang Zhou""".split()
THINGS = """add-on address book|archive|attachment dialog|backup script|build server|bug tracker|calendar view|cache|
certificate|changelog|chat bridge|checkbox|command line|compiler flag|config file|contact form|contributor guide|cookie
banner|crash reporter|database dump|date picker|deadline|dependency|desktop file|dictionary|disk quota|documentation
page|download page|editor|error message|exporter|feature freeze|file picker|filter rule|firewall|folder pane|font|
forum|glossary|hackathon|handbook|help page|icon set|import wizard|index page|installer|issue template|job queue|
keyboard shortcut|landing page|language pack|licence header|linter|log file|login page|mail server|mailing list|
manual|meeting|menu entry|message list|migration script|mirror|newsletter|nightly build|notification|package|parser|
password field|patch|permission|plugin|print dialog|privacy notice|profile folder|progress bar|proxy|pull request|
quota|release candidate|release notes|renderer|repository|report|review queue|road map|rollback|schema|screen reader|
screenshot|search box|search index|server room|session|settings page|sidebar|signature|signing key|spam filter|
spell checker|sprint|staging server|status page|storage|string freeze|style guide|submodule|survey|sync client|tag|
template|test suite|theme|thread view|time zone|toolbar|tooltip|translation|tutorial|unit test|updater|upload form|
user guide|video call|virtual machine|warning|web hook|website|wiki|window manager|workshop|import filter|cron job|
load balancer|memory leak|dark mode|review checklist|continuous integration|test machine|call for papers|budget|
travel fund|privacy policy|code of conduct|board meeting|logo|banner|booth|poster""".replace("\n", " ").split("|")
THINGS = [t.strip() for t in THINGS]
SYSTEMS = ["Debian", "Fedora", "Windows", "macOS", "Android", "FreeBSD", "the old laptop", "ARM boards", "the test machine",
           "Ubuntu", "the staging server", "small screens", "a fresh install", "slow networks", "the nightly build"]
LANGUAGES = ["German", "French", "Polish", "Spanish", "Catalan", "Finnish", "Japanese", "Turkish", "Welsh", "Czech",
             "Hungarian", "Greek", "Hindi", "Dutch", "Swedish", "Portuguese", "Arabic", "Basque"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]
LISTS = ["dev", "users", "release", "addons", "infra", "l10n", "docs", "design", "security", "packaging", "announce",
         "board", "testing", "support", "community", "build"]
UNITS = ["minutes", "seconds", "days", "weeks", "users", "files", "strings", "messages", "machines", "pages", "hours",
         "copies", "tests", "patches"]


def wordnet_words(part):
    """Lower-case single words of one part of speech: (common ones, all)."""
    common, words = [], []
    with open(f"{WORDNET_DIR}/index.{part}", encoding="latin-1") as index:
        for line in index:
            fields = line.split()
            if fields and re.fullmatch("[a-z]{4,10}", fields[0]):
                words.append(fields[0])
                if int(fields[4 + int(fields[3]) + 1]) > 0:  # seen in WordNet's tagged texts
                    common.append(fields[0])
    return common, words


def wordnet_sentences():
    """The example sentences of WordNet's verbs: short, plain, about everything."""
    sentences = []
    starts = re.compile(r"(The|He|She|They|This|We|Our|My|His|Her|These|It|There|A|I|You|Your|Some|All|That|Many) ")
    with open(f"{WORDNET_DIR}/data.verb", encoding="latin-1") as data:
        for line in data:
            for example in re.findall(r'"([^"]+)"', line):
                example = example.strip().rstrip(".!")
                example = example[:1].upper() + example[1:]
                if 5 <= len(example.split()) <= 15 and re.fullmatch(r"[A-Za-z ,'-]+", example) and starts.match(example):
                    sentences.append(example)
    return sentences


@dataclass
class Act:
    name: str        # who
    fragment: str    # what the summary says after the name: "reports that the cache is empty"
    end: int = 0     # characters of the thread needed to know it


@dataclass
class Thread:
    text: str = ""
    acts: list = field(default_factory=list)

    def summary(self, visible):
        """Two sentences about what stands in text[:visible]; None when that is too little."""
        seen = [a for a in self.acts if a.end <= visible]
        if len(seen) < 2 or seen[0] is not self.acts[0]:
            return None
        first, rest = seen[0], seen[1:]
        second = f"{rest[0].name} {rest[0].fragment}"
        if len(rest) > 1:
            second += f", and {rest[1].name} {rest[1].fragment}"
        return f"{first.name} {first.fragment}. {second}."


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.common_nouns, self.all_nouns = wordnet_words("noun")
        self.adjectives, _ = wordnet_words("adj")
        self.sentences = wordnet_sentences()

    # Words and phrases

    def pick(self, items):
        return items[int(self.r.random() * len(items))]

    def word(self):
        return self.pick(self.common_nouns if self.r.random() < 0.7 else self.all_nouns)

    def made_up(self):
        """A name nobody has: two or three syllables, now and then with an accent."""
        name = ""
        for _ in range(self.r.choice([2, 2, 2, 3])):
            name += self.pick(["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "ch", "dr", "fl",
                               "gr", "kl", "kr", "ph", "sh", "st", "th", "tr", "", "", "y"]) + self.pick("aaeeiioou")
            name += self.pick(["", "", "", "", "l", "n", "r", "s", "m", "t", "nd", "ck", "x", "d", "rt", "ss", "ng"])
        if self.r.random() < 0.08:
            plain, accent = self.pick(["eé", "oö", "aá", "uü", "cč", "lł", "sš", "iï", "aå", "oø", "nñ"])
            name = name.replace(plain, accent, 1)
        return name.capitalize()

    def person(self):
        x = self.r.random()  # known names are few: mostly others, or a model learns them by heart
        first = self.pick(FIRST) if x < 0.25 else self.made_up() if x < 0.7 else self.word().capitalize()
        last = self.pick(LAST) if self.r.random() < 0.6 else self.made_up()
        return first, last

    def product(self):
        if self.r.random() < 0.5:
            return self.made_up()
        return self.word().capitalize()

    def noun(self):
        x = self.r.random()
        if x < 0.5:
            return self.pick(THINGS)
        if x < 0.85:
            return self.word()
        return f"{self.word()} {self.pick(['list', 'page', 'test', 'file', 'server', 'window', 'team', 'report'])}"

    def thing(self):
        x = self.r.random()
        if x < 0.15:
            return self.product()
        noun = self.noun()
        if x < 0.4:
            noun = f"{self.pick(self.adjectives)} {noun}"
        if x > 0.85:
            return f"the {self.product()} {noun}"
        return f"{self.pick(['the', 'the', 'the', 'our', 'a'] if noun[0] not in 'aeiou' else ['the', 'the', 'our'])} {noun}"

    def plural(self):
        noun = self.noun()
        return f"{self.pick(['large', 'old', 'empty', 'some', 'all', 'two', 'most', self.pick(self.adjectives)])} " + \
            (noun if noun.endswith("s") else noun + "s")

    def version(self):
        return self.pick(["{}.{}", "{}.{}", "version {}.{}", "{}.{}.1"]).format(self.r.randrange(1, 140), self.r.randrange(0, 20))

    def number(self):
        return str(self.pick([self.r.randrange(2, 12), self.r.randrange(12, 100), self.r.randrange(100, 3000)]))

    def date(self):
        x = self.r.random()
        if x < 0.4:
            return self.pick(DAYS)
        if x < 0.8:
            return f"{self.r.randrange(1, 29)} {self.pick(MONTHS)}"
        return self.pick(["next week", "the end of the month", "the next release", "next month"])

    def circumstance(self):
        return self.pick([
            lambda: f"when {self.thing()} is {self.pick(['open', 'empty', 'full', 'missing', 'disabled', 'enabled', 'locked', 'too long'])}",
            lambda: f"after the update to {self.version()}", lambda: f"on {self.pick(SYSTEMS)}",
            lambda: f"since {self.pick(DAYS)}", lambda: f"if {self.thing()} contains {self.plural()}",
            lambda: f"with more than {self.number()} {self.pick(UNITS)}", lambda: f"whenever somebody opens {self.thing()}",
            lambda: f"while {self.thing()} is running", lambda: f"unless {self.thing()} is restarted",
        ])()

    def did(self):
        """What somebody did, after "I": "moved the cache to Friday"; reads the same after a name."""
        x, y = self.thing(), self.thing()
        return self.pick([
            lambda: f"{self.pick(['moved', 'compared', 'added', 'sent', 'changed', 'copied', 'moved', 'attached'])} {x} to {y}",
            lambda: f"{self.pick(['tested', 'opened', 'removed', 'built', 'closed', 'measured', 'found', 'fixed', 'wrote', 'looked at', 'broke', 'reviewed'])} {x} {self.circumstance()}",
            lambda: f"tried {x} and it {self.pick(['works', 'fails', 'crashes', 'hangs', 'takes'])} {self.circumstance()}",
            lambda: f"{self.pick(['can', 'could', 'would', 'will', 'want to', 'need to', 'hope to', 'plan to', 'must', 'had to', 'forgot to', 'managed to'])} {self.plan()}",
            lambda: f"{self.pick(['use', 'run', 'maintain', 'package', 'translate', 'like', 'need', 'have', 'know'])} {x} {self.circumstance()}",
            lambda: f"updated {x} to {self.version()} and {self.pick(['now', 'since then', 'still'])} {self.clause()}",
            lambda: f"{self.pick(['have', 'saw', 'counted', 'got'])} {self.number()} {self.pick(UNITS)} in {x}",
            lambda: f"{self.pick(['asked', 'told', 'helped', 'met'])} {self.person()[0]} about {x}",
            lambda: f"{self.pick(['agree', 'disagree', 'am sure', 'am afraid', 'believe', 'guess', 'wonder'])} that {self.clause()}",
        ])()

    def clause(self):
        """Something that is the case: "the cache loses old messages on Debian"."""
        x, y = self.thing(), self.thing()
        return self.pick([
            lambda: f"{x} crashes {self.circumstance()}", lambda: f"{x} no longer works {self.circumstance()}",
            lambda: f"{x} loses {self.plural()} {self.circumstance()}", lambda: f"{x} is missing from {y}",
            lambda: f"{x} shows {self.plural()} instead of {y}", lambda: f"{x} ignores {y}",
            lambda: f"{x} takes {self.number()} {self.pick(['seconds', 'minutes', 'hours'])} {self.circumstance()}",
            lambda: f"{x} fails with an error about {y}", lambda: f"{x} rejects {self.plural()}",
            lambda: f"{x} depends on {y}", lambda: f"{self.number()} people have asked for {x}",
            lambda: f"{x} will be offline on {self.date()}", lambda: f"{x} is ready for {y}",
            lambda: f"{x} is still waiting for {y}", lambda: f"{x} freezes {self.circumstance()}",
            lambda: f"{x} does not match {y}", lambda: f"{x} is out of date {self.circumstance()}",
            lambda: f"{x} needs {y} before {self.date()}", lambda: f"{x} cannot read {self.plural()} {self.circumstance()}",
            lambda: f"{x} was removed from {y} by mistake", lambda: f"{x} sends {self.plural()} to {y}",
            lambda: f"the {self.pick(LANGUAGES)} translation of {x} is {self.pick(['wrong', 'incomplete', 'too long', 'missing', 'finished'])}",
            lambda: f"{x} uses {self.number()} {self.pick(['MB of memory', 'percent of the disk', 'threads', 'GB'])} {self.circumstance()}",
            lambda: f"{x} only works {self.circumstance()}", lambda: f"{x} is blocked by {y}",
            lambda: f"nobody has tested {x} {self.circumstance()}", lambda: f"{x} was tagged on {self.date()}",
            lambda: f"{x} breaks {y} {self.circumstance()}", lambda: f"{x} has no owner since {self.date()}",
            lambda: f"{x} expires on {self.date()}", lambda: f"{x} is cut off {self.circumstance()}",
        ])()

    def plan(self):
        """Something to do: "move the sprint to Friday"."""
        x, y = self.thing(), self.thing()
        return self.pick([
            lambda: f"move {x} to {self.date()}", lambda: f"drop {x}", lambda: f"rename {x} to {self.product()}",
            lambda: f"merge {x} into {y}", lambda: f"postpone {x} until {self.date()}", lambda: f"revert {x}",
            lambda: f"ship {x} in {self.version()}", lambda: f"disable {x} by default", lambda: f"split {x} into {self.plural()}",
            lambda: f"document {x} in {y}", lambda: f"add a test for {x}", lambda: f"update {x} to {self.version()}",
            lambda: f"remove {self.plural()} from {x}", lambda: f"keep {x} until {self.date()}", lambda: f"publish {x} on {self.date()}",
            lambda: f"use {x} instead of {y}", lambda: f"translate {x} into {self.pick(LANGUAGES)}", lambda: f"restart {x}",
            lambda: f"limit {x} to {self.number()} {self.pick(UNITS)}", lambda: f"replace {x} with {y}",
            lambda: f"review {x} before {self.date()}", lambda: f"check {x} against {y}", lambda: f"meet on {self.date()} about {x}",
            lambda: f"ask {self.person()[0]} to look at {x}", lambda: f"write {self.plural()} for {x}", lambda: f"fix {x} in {self.version()}",
            lambda: f"back up {x} before {self.date()}", lambda: f"allow {self.plural()} in {x}", lambda: f"build {x} without {y}",
            lambda: f"send {x} to the list", lambda: f"close {x} and reopen {y}", lambda: f"turn off {x} {self.circumstance()}",
        ])()

    def retold(self, sentence):
        """A plain sentence as the summary tells it: "I am" becomes "they are", "my" becomes "their"."""
        for mine, theirs in (("I was", "they were"), ("I am", "they are"), ("I'm", "they are"), ("i", "they"), ("I", "they"), ("my", "their"), ("My", "their"),
                             ("me", "them"), ("myself", "themselves")):
            sentence = re.sub(rf"\b{mine}\b", theirs, sentence)
        return self.lower(sentence)

    def plain(self):
        """A sentence without a cue, and how the summary tells it: up to the first stop past eight words."""
        x = self.r.random()
        sentence = self.pick(self.sentences) if x < 0.4 else f"I {self.did()}" if x < 0.65 else \
            self.pick(["We ", "I've ", "I have ", "I'm sure I ", "We have "]) + self.did() if x < 0.72 else self.upper(self.clause())
        x = self.r.random()
        if x < 0.5:
            y = self.r.random()
            more = self.lower(self.pick(self.sentences)) if y < 0.3 else f"I {self.did()}" if y < 0.5 else self.clause()
            sentence += self.pick([", and ", ", but ", ", so ", ", because ", ", although ", " and ", " because ", " but ", ", since ", ", which means ",
                                   ": ", "; ", " - ", ", ", " so ", " as "]) + more
        elif x < 0.65:
            sentence = self.upper(self.circumstance()) + self.pick([", ", " "]) + self.lower(sentence)
        elif x < 0.72:
            words = sentence.split()
            words.insert(self.r.randrange(2, len(words) + 1), f"({self.pick([self.noun(), self.thing(), self.version(), self.plural()])})")
            sentence = " ".join(words)
        told = sentence
        for stop in re.finditer("[,:;] | - ", sentence):
            if len(sentence[:stop.start()].split()) >= 8:
                told = sentence[:stop.start()]
                break
        return sentence, told

    def lower(self, text):
        return text[:1].lower() + text[1:] if text.split(" ")[0] in (
            "The", "A", "Our", "He", "She", "They", "This", "We", "My", "His", "Her", "These", "It", "There", "You",
            "Your", "When", "After", "On", "Since", "If", "With", "Whenever", "While", "Unless", "Two", "Some", "All", "That", "Many", "Nobody") or text[:1].islower() else text

    def upper(self, text):
        return text[:1].upper() + text[1:]

    # Acts: what stands in the mail, and what is said about it

    def opening(self):
        """First message: (sentence, fragment, words for the subject)."""
        x = self.r.random()
        if x < 0.28:
            c = self.clause()
            cue = self.pick(["I noticed that {}.", "It looks like {}.", "I found that {}.", "I have seen that {}.", "It seems that {}.",
                             "Since yesterday I see that {}.", "Several people told me that {}.", "I think I found a bug: {}.",
                             "Just a quick report: {}.", "Our testers say that {}.", "The problem is that {}."])
            return cue.format(c), f"reports that {c}", c
        if x < 0.42:
            p = self.plan()
            cue = self.pick(["I propose to {}.", "I would like to {}.", "I suggest to {}.", "I'd like to {}.", "My proposal is to {}.",
                             "I think we should {}.", "What about this: we {}.", "I plan to {}."])
            return cue.format(p), f"proposes to {p}", p
        if x < 0.52:
            p = self.plan()
            cue = self.pick(["Should we {}?", "Can we {}?", "Would it be possible to {}?", "Could somebody {}?", "Does anybody mind if we {}?",
                             "Is it okay to {}?"])
            return cue.format(p), f"asks to {p}", p
        if x < 0.6:
            c = self.clause()
            cue = self.pick(["Is it known that {}?", "Does anybody know why {}?", "Can somebody tell me why {}?", "Any idea why {}?"])
            return cue.format(c), f"asks why {c}", c
        if x < 0.66:
            p = self.plan()
            cue = self.pick(["How do I {}?", "Is there a way to {}?", "How can I {}?", "What is the best way to {}?", "I need help to {}.",
                             "I am trying to {}."])
            return cue.format(p), f"asks how to {p}", p
        subject = self.clause() if self.r.random() < 0.6 else self.plan()
        sentence, told = self.plain()
        return sentence + ".", ("about", f"says that {self.retold(told)}"), subject

    def reply(self):
        """A later message: (sentence, fragment)."""
        x = self.r.random()
        if x < 0.22:
            p = self.plan()
            cue = self.pick(["I think we should {}.", "I would rather {}.", "Let's {}.", "Why not {}?", "My suggestion: {}.", "We could {}.",
                             "Can you {}?", "Please {}.", "How about we {}?"])
            return cue.format(p), f"suggests to {p}"
        if x < 0.36:
            p = self.plan()
            return self.pick(["I will {}.", "I'll {}.", "I can {}.", "Agreed, I will {}.", "Done: I am going to {}."]).format(p), f"will {p}"
        if x < 0.46:
            c = self.clause()
            return self.pick(["I disagree: {}.", "No, {}.", "I am against this because {}.", "-1 from me, {}.", "Please don't, {}.", "Sorry, but {}."]).format(c), \
                f"objects that {c}"
        if x < 0.58:
            c = self.clause()
            return self.pick(["The cause is that {}.", "This happens because {}.", "I can confirm this, {}.", "The reason is that {}.",
                              "I looked into it and {}."]).format(c), f"explains that {c}"
        sentence, told = self.plain()
        return sentence + ".", f"answers that {self.retold(told)}"

    # Messages

    def subject_line(self, words):
        x = self.r.random()
        words = re.sub(r"^(the|our|a) ", "", words) if x < 0.7 else words
        if self.r.random() < 0.4:  # people shorten
            words = " ".join(words.split()[:self.r.randrange(4, 8)])
            words = re.sub(r"( (the|a|our|of|to|with|in|on|for|is|when|if|and|after|since|into|from|before|until|an))+$", "", words)
        return words

    def filler(self):
        x = self.r.random()
        if x < 0.35:
            return self.pick(self.sentences) + "."
        if x < 0.65:
            return self.plain()[0] + self.pick([".", ".", ".", "!", "...", ".", "?"])
        if x < 0.75:
            return self.upper(self.clause()) + "."
        if x < 0.8:
            return self.pick([
                lambda: f"\n- {self.thing()}\n- {self.thing()}\n- {self.plan()}\n", lambda: f"\n1. {self.upper(self.plan())}\n2. {self.upper(self.plan())}\n",
                lambda: f"\n  {self.word().upper()}: {self.word()}.{self.word()}() line {self.number()}: {self.word()} not found\n",
                lambda: f"\n  $ {self.word()} --{self.word()}={self.number()} /{self.word()}/{self.word()}.{self.word()[:3]}\n"])()
        return self.pick([
            "Thanks for all the work on this.", "Sorry for the long mail.", "I may be missing something here.", "What do you think?",
            "See https://{}.example.org/{} for details.", "The log is at https://logs.example.net/{}/{}.", "Steps to reproduce are below.",
            "I have tried this twice.", "It worked last week.", "Let me know if you need more.", "No hurry.", "This is not urgent.",
            "I attach a screenshot.", "Not a blocker, but annoying.", "I am happy to help.", "Comments welcome.",
        ]).format(self.word(), self.r.randrange(1, 9999))

    def thanks(self):
        return self.pick(["Thanks for the report.", "Good point.", "Hm.", "Thanks!", "Interesting.", "Sounds good to me.", "+1", "Thank you for looking at this.",
                          "Sorry for the late answer.", "Yes, I see that too.", "Right.", "Well spotted.", "Confirmed.",
                          "Thanks, that helps.", "Ah, sorry.", "Fair enough.", "Yes.", "No objection here.", "Great, thanks!", "Hm, odd.", "Thanks for writing this up.",
                          "Both fine with me.", "Good news.", "Yes please.", "I see.", "That was me, sorry."])

    def header(self, person, address, list_name, project, when, subject):
        lines = [f"From: {person[0]} {person[1]} <{address}>", f"To: {list_name}@{project.lower()}.example.org",
                 f"Date: {when}", f"Subject: {subject}"]
        return "\n".join(lines) + "\n\n"

    def when(self):
        return (f"{self.pick(DAYS)[:3]}, {self.r.randrange(1, 29)} {self.pick(MONTHS)[:3]} {self.r.randrange(2019, 2027)} "
                f"{self.r.randrange(0, 24):02d}:{self.r.randrange(0, 60):02d}")

    def quote(self, person, body):
        """An attribution and a few quoted lines of the message that is answered."""
        sentences = [s for s in re.split(r"(?<=[.?!])\s+", body) if s]
        start = self.r.randrange(max(1, len(sentences) - 1))
        chosen = " ".join(sentences[start:start + self.r.choice([1, 1, 2, 2, 3])])
        lines, line = [], ">"
        for word in chosen.split():
            if len(line) + len(word) > 70:
                lines.append(line)
                line = ">"
            line += " " + word
        lines.append(line)
        told = self.pick([f"On {self.when()}, {person[0]} {person[1]} wrote:\n", f"{person[0]} wrote:\n", f"{person[0]} {person[1]} wrote:\n", ""])
        return told + "\n".join(lines) + "\n\n"

    def thread(self, size):
        """One thread. size 0: two bare messages; 1: as long as real ones."""
        people = [self.person() for _ in range(self.r.choice([2, 3, 3, 4]))]
        while len({p[0] for p in people}) < len(people):
            people = [self.person() for _ in people]
        addresses = [self.pick(["{0}.{1}@{2}.example", "{0}@{2}.example.org", "{1}@example.net", "{0}@example.com"]).format(
            p[0].lower(), p[1].lower(), self.word()) for p in people]
        project, list_name = self.product(), self.pick(LISTS)
        thread = Thread()
        sentence, fragment, words = self.opening()
        subject = self.subject_line(words)
        if isinstance(fragment, tuple):
            fragment = f"writes about {self.lower(subject)} and {fragment[1]}"
        if self.r.random() < 0.6:
            subject = self.upper(subject)
        if self.r.random() < 0.3:
            subject = self.pick(["[{}] ", "{}: ", "[{}] "]).format(self.pick([project, self.pick(LISTS), self.product()])) + subject

        messages = self.r.choice([2, 2, 3]) if size < 0.5 else self.r.choice([2, 3, 3, 4, 5])
        previous, previous_body = None, ""
        for i in range(messages):
            who = i if i < len(people) else self.r.randrange(len(people))
            if i >= 2 and len(people) == 2:
                who = i % 2
            person = people[who]
            thread.text += self.header(person, addresses[who], list_name, project, self.when(), subject if i == 0 else "Re: " + subject)
            if i > 0 and self.r.random() < (0.3 + 0.5 * size):
                thread.text += self.quote(previous, previous_body)
                sentence, fragment = self.reply()
            elif i > 0:
                sentence, fragment = self.reply()
            before, after = [], []
            if self.r.random() < 0.6:
                whom = people[0][0] if i else self.pick(["all", "everyone", "list", "folks", "team", "there"])
                before.append(self.pick(["Hi {},\n\n", "Hello {},\n\n", "Dear {},\n\n", "Hi {}!\n\n", "Hey {},\n\n"]).format(whom))
            if i > 0 and self.r.random() < 0.4:
                before.append(self.thanks() + " ")
            for _ in range(self.r.randrange(0, 1 + int(6 * size))):
                after.append(self.filler() + self.pick([" ", " ", " ", "\n\n"]))
            if i > 0 and self.r.random() < 0.2 * size:
                after.insert(len(after) // 2, "\n\n" + self.quote(previous, previous_body).split("wrote:\n")[-1])
            head = "".join(before)
            if self.r.random() < 0.08:  # some people never press shift
                sentence = self.lower(sentence)
            body = sentence + " " + "".join(after).strip()
            if size > 0.3 and i == 0 and self.r.random() < 0.25:  # a sentence before the point; the point has a cue then
                if not thread.acts and not fragment.startswith("writes"):
                    head += self.pick(["I am new here.", "I hope this is the right list.", "Long time no see.", "A short one today."]) + " "
            position = len(thread.text) + len(head) + len(sentence)
            thread.text += head + body.strip() + "\n"
            if self.r.random() < 0.6:
                thread.text += "\n" + self.pick(["Best,\n{}", "Cheers,\n{}", "{}", "Regards,\n{}", "Thanks,\n{}", "-- \n{}", "Greetings, {}"]).format(person[0]) + "\n"
                if self.r.random() < 0.2:
                    thread.text += "-- \n" + self.pick([self.pick(self.sentences), f"{person[0]} {person[1]}, {self.product()}", f"https://{person[1].lower()}.example"]) + "\n"
            thread.text += "\n"
            if i < 3:
                thread.acts.append(Act(person[0], fragment, position))
            previous, previous_body = person, body
        thread.text = thread.text.rstrip("\n") + "\n"
        return thread


if __name__ == "__main__":
    import sys
    generator = Generator(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    for size in (0.0, 0.5, 1.0):
        one = generator.thread(size)
        print(one.text, "=>", one.summary(len(one.text)), "\n" + "=" * 80)
