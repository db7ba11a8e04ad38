// What the server refuses, in the reader's language. Its own words are English, and more exact.

import { el } from "./dom.js";
import { t } from "./i18n.js";

const AWAY = t("A part of the server does not answer. Try again soon.");
const DAMAGED = t("This file is damaged, or is not what its name says.");
const TOO_MUCH = t("That is more than the server accepts at once.");

const PROBLEMS = {
  InputError: t("A value in this request cannot be used."),
  UnsupportedMediaError: t("Files of this kind cannot be read."),
  CorruptMediaError: DAMAGED,
  MediaError: DAMAGED,
  MediaLimitError: t("This file, or what it holds, is larger than allowed."),
  TooLongError: t("Reading this file takes too long."),
  CrashedError: DAMAGED,
  TooLargeError: TOO_MUCH,
  TooCostlyError: TOO_MUCH,
  NotFoundError: t("It is no longer in the library."),
  TimeLimitError: t("The search took too long. Try again."),
  OverloadedError: t("Too much is under way. Try again soon."),
  RateLimitError: t("Too many requests with this key."),
  UnauthorizedError: t("The key is missing or unknown."),
  ForbiddenError: t("This key does not allow that."),
  ReadOnlyStoreError: t("This library can be searched, but not changed."),
  DiskError: t("The server cannot write to its disk."),
  InternalError: t("The server failed. Its log says why."),
  StoreUnavailableError: AWAY,
  StoreGoneError: AWAY,
  IndexNotReadyError: AWAY,
  BrokerError: AWAY,
};

/** An English message, behind what it says in the reader's language. */
export const inWords = (type, message) => [PROBLEMS[type] ? `${PROBLEMS[type]} ` : "", el("span", { class: "hint", lang: "en" }, message)];
