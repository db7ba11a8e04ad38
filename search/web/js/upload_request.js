// fetch() cannot report the progress of an upload; XMLHttpRequest can.

/** Send a form; {status, text, retryAfter}, with status 0 where the server does not answer. */
export function sendForm(url, form, headers, onSent) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onSent(event.loaded / event.total);
    });
    request.addEventListener("loadend", () =>
      resolve({
        status: request.status,
        text: request.responseText,
        retryAfter: request.getResponseHeader("Retry-After"),
      }),
    );
    request.send(form);
  });
}
