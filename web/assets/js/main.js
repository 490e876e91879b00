// Puts the page together: what comes by events goes to its part of the page, what is heavier is asked for now and again.
import { byId, text } from "./dom.js";
import { Live, get, repeat } from "./live.js";
import { showSummary } from "./headline.js";
import { showSeries } from "./history.js";
import { showWaits, showWhatIf } from "./waits.js";
import { Flow } from "./flow.js";
import { showWorkers } from "./fleet.js";
import { Feed } from "./feed.js";
import { loadDead } from "./dead.js";

const flow = new Flow();
const feed = new Feed();
const state = byId("state");

let deadLetters = -1;
let connected = false;

new Live(
  {
    summary: showSummary,
    workers: showWorkers,
    observations: (answer) => feed.add(answer),
    flow: (answer) => {
      flow.show(answer);
      if (answer.dead_letters !== deadLetters) {
        deadLetters = answer.dead_letters;
        loadDead().catch(() => (deadLetters = -1));
      }
    },
  },
  (now) => {
    text(state, now);
    state.dataset.state = now;
    if (now === "live" && !connected) feed.load(); // what came while nobody listened
    connected = now === "live";
  },
);

repeat(5, async () => {
  const answer = await get("series?buckets=120");
  showSeries(answer);
  return answer.history.first !== null;
});
repeat(5, async () => {
  const answer = await get("waits");
  showWaits(answer);
  return answer.history.first !== null;
});
repeat(5, async () => { // a young history changes much
  const answer = await get("what-if");
  showWhatIf(answer);
  return answer.decided > 0;
});
