// How the page gets its numbers: requests to the API, and one event source that comes back by itself.

// Beside the page, wherever a proxy has put it.
const base = new URL("../../api/v1/", import.meta.url);

/** Asks the API. An answer that is none, or too late, is an Error with words for the reader. */
export async function get(path) {
  let answer;
  try {
    answer = await fetch(new URL(path, base), { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) });
  } catch (err) {
    throw new Error(err.name === "TimeoutError" ? "no answer within 15 s" : "the observer does not answer", { cause: err });
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.detail || body?.title || `the observer answers ${answer.status}`);
  return body;
}

/**
 * One event source for the page. A source that the browser gives up (the server said no, a proxy answered) is opened
 * again, later each time up to half a minute. While nobody sees the page it is closed, and costs the server nothing.
 */
export class Live {
  #source = null;
  #timer = 0;
  #pause = 0;

  constructor(handlers, onState) {
    this.handlers = handlers;
    this.onState = onState;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close("paused") : this.#open()));
    addEventListener("pagehide", () => this.#close("paused"));
    addEventListener("pageshow", () => this.#open());
    this.#open();
  }

  #open() {
    if (this.#source || document.hidden) return;
    clearTimeout(this.#timer);
    // A slow connection gets fewer events, not late ones.
    const slow = navigator.connection?.saveData || /2g/.test(navigator.connection?.effectiveType ?? "");
    const source = (this.#source = new EventSource(new URL(slow ? "events?every=5" : "events", base)));
    source.onopen = () => {
      this.#pause = 0;
      this.onState("live");
    };
    source.onerror = () => {
      this.onState("reconnecting");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries by itself
      this.#close("reconnecting");
      this.#pause = Math.min(30000, Math.max(1000, this.#pause * 2));
      this.#timer = setTimeout(() => this.#open(), this.#pause);
    };
    for (const [name, handle] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  }

  #close(state) {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.onState(state);
  }
}

/**
 * Calls task now and again each so many seconds after it has ended, while the page is seen; a second later where the
 * task says, with false, that there is nothing to show yet.
 */
export function repeat(every, task) {
  const turn = async () => {
    let pause = every;
    if (!document.hidden) {
      try {
        if ((await task()) === false) pause = 1;
      } catch {
        // The event source shows that the connection is lost; the next turn asks again.
      }
    }
    setTimeout(turn, pause * 1000);
  };
  turn();
}
