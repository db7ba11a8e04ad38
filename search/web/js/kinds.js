// What a file is, for the eye.

const NAMES = { image: "Picture", video: "Film", audio: "Sound", text: "Text" };

/** The kind of a file by its media type: image, video, audio or text. */
export function kindOf(mediaType) {
  const family = mediaType.split("/")[0];
  return family in NAMES ? family : "text";
}

/** Whether a file can be shown as the text that it is. */
export const isReadable = (mediaType) => /^text\/(?!html)|^application\/(json|jsonl|xml)$/.test(mediaType);

/** Whether its moments can be played; subtitles have times and cannot. */
export const isPlayed = (mediaType) => /^(audio|video)\//.test(mediaType ?? "");

/** Its name in the singular. */
export const kindName = (kind) => NAMES[kind] ?? kind;

/** The kind of a file to search with, or null; browsers leave some types empty. */
export function queryKind(file) {
  const family = (file.type || "").split("/")[0];
  if (["image", "audio", "video"].includes(family)) return family;
  const suffix = /\.(\w+)$/.exec(file.name ?? "")?.[1].toLowerCase() ?? "";
  for (const [kind, suffixes] of Object.entries(SUFFIXES)) if (suffixes.includes(suffix)) return kind;
  return null;
}

const SUFFIXES = {
  image: ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "hif"],
  audio: ["wav", "flac", "mp3", "ogg", "opus", "aac", "m4a", "aiff"],
  video: ["mp4", "mov", "mkv", "webm", "avi", "mpeg", "mpg", "heics", "avifs"],
};
