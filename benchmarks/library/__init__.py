"""A mixed library in three languages, and whether what a person types finds its file first.

    python -m benchmarks library [--half NAME] [--store FOLDER] [--ablate] [--wrong] [--write]
    python -m benchmarks library unanswered --store … [--half judged]     # of any library

Protocol, written before the first run.

**Files.** About 600, made by `benchmarks.library.corpus` from public data that is fetched and never
committed, and from texts of ours (``texts.txt``):

- photographs of COCO's val2017 (`PHOTOS`, `CAPTIONS`; CC BY 4.0 captions, each photograph under its
  own licence) drawn by a seed, as JPEG with dates and for six of ten with coordinates of real
  cities; three bursts of 14 shots each, cut, lit and compressed a little differently, one second
  apart; films that show photographs with sound or speech under them;
- documents: articles of XQuAD (five paragraphs each, each article in only one of English, German,
  Chinese), German news (10kGNAD), real mails (SpamAssassin's ham), and invoices, minutes, letters,
  slides, tables, notes and mails of ours in PDF, Word, PowerPoint, Excel, OpenDocument, Markdown,
  HTML, plain text and MIME;
- pictures of text (screens, scans, slides in films) made with Pillow;
- speech: Common Voice 6.1, four sentences in one recording of about 20 seconds, and twenty in the
  longest two of each language; sounds without speech: ESC-10 and twelve further classes of ESC-50.

**Questions.** ``questions.tsv``, written from captions, transcripts and texts before anything was
searched, as a person types them: short, mostly in other words than the file's; those of XQuAD are
its own, the first of an article's second paragraph. Groups:

- photo, document, mail, said, shown (text in a picture or film), heard, name (of a file or folder,
  one with a letter wrong), date and place (with a subject; of photographs by their EXIF data, of
  documents by their text), foreign (the answer is in another language only);
- filter: nothing but a date or place of photographs;
- nonsense, and absent (sensible, but nothing in the library answers).

The questions of a group and language are ordered by a hash and dealt in turns into ``development``,
on which anything may be tuned, and ``judged``, which is printed once, when all is done. Nothing is
left out of either.

**The second library** (``--half second``; written on 2026-11-30, before its files were made). Its
tables in ``second/`` are by another author, who had tuned nothing and had not read the code that
ranks, and who chose among captions, transcripts and mails without having searched. Its photographs,
bursts, mails, news, sounds, films and texts of ours are others than the first's; XQuAD's articles
each stand in another language than there, and the fourth paragraph is asked about; Common Voice's
sentences are the same 100 of a language, in other recordings, and others are asked for. All its
questions are printed once, and nothing is tuned on them.

**Counted.** Everything goes through `anymodal ingest` and `SearchEngine` with the default settings
of the API, ten hits.

- A hit is right if its file is one of the question's. ``@1``, ``@5``: a right file stands first, or
  among the first five hits *that are not weak*; ``@1 all``, ``@5 all``: weak ones too. Files are
  counted, so two hits of one file are one place, and an ensemble such as a stack counts as any of
  its files.
- ``own kind``: the question asked of the right file's own kind of segment alone (what is
  said, among texts): the oracle of the kind.
- A filter question is right if all hits, and at least as many as there are up to ten, meet it, and
  none is weak.
- Nonsense and absent: the share with a hit that is not weak. Hidden: of right first hits, those
  that are weak.
- Said: the best segment of the right recording covers the sentence asked for (its middle lies
  inside, half a second allowed at each end), first or among three.
- A burst: the places that its shots take among the first ten, for questions about it.

**Words.** ``--ablate`` asks again without words, and by language counts questions whose first hit
became right (helped) or wrong (hurt) by words.
"""
