// Environment maps of the person's own: dropped anywhere on the page or picked, sent to this session, kept while the page is.

const MOST = 3; // fewer than the server keeps for a session

export class Maps {
  /** `ask(path, options)` fetches with the token; `say(text)` tells a person what is wrong. */
  constructor(strip, ask, say) {
    Object.assign(this, { strip, ask, say, all: [], most: Infinity });
  }

  /** A file becomes a tile; null when it cannot be one. */
  take(file) {
    if (!/\.(hdr|exr|png|jpe?g)$/i.test(file.name)) return this.refuse(`${file.name} is no environment map: use a .hdr, .exr, .png or .jpg`);
    if (file.size > this.most) return this.refuse(`${file.name} is too large: ${(file.size / 2 ** 20).toFixed(0)} MB, at most ${(this.most / 2 ** 20).toFixed(0)}`);
    const map = { name: file.name, label: file.name.replace(/\.[a-z]+$/i, ''), file, light: null };
    this.all.push(map);
    this.strip.add(map);
    if (this.all.length > MOST) this.drop(this.all[0]);
    return map;
  }

  refuse(text) { this.say(text); return null; }

  drop(map) {
    this.all = this.all.filter((other) => other !== map);
    map.tile.remove();
  }

  /** The LIGHT of a map in this session, sent there if it has not been, one map after the other; null if it cannot be had. */
  send(map, session) {
    const last = this.sending ?? Promise.resolve();
    return (this.sending = last.then(() => this.deliver(map, session)));
  }

  async deliver(map, session) {
    if (map.light && map.session === session) return map.light;
    map.tile.classList.add('busy');
    try {
      const answer = await this.ask(`/sessions/${session}/lights?name=${encodeURIComponent(map.name)}`, { method: 'POST', body: map.file });
      const reply = await answer.json();
      if (answer.status === 201) {
        Object.assign(map, { light: reply.light, session });
        if (reply.thumbnail) this.strip.picture(map.tile, reply.thumbnail);
        return map.light;
      }
      if (reply.code === 'bad-map' || reply.code === 'too-large') this.drop(map); // it will not get better
      if (reply.code !== 'not-found') this.say(reply.message); // else the session is over
    } catch {
      this.say(`${map.name} could not be sent: try it again`);
    } finally {
      map.tile.classList.remove('busy');
    }
    return null;
  }
}

/** Files dropped anywhere on the page; `veil` is shown while one hovers over it. */
export function acceptDrops(veil, take) {
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  let depth = 0; // enter and leave come for every element on the way
  const hover = (step) => { depth = Math.max(0, depth + step); veil.hidden = depth === 0; };
  addEventListener('dragenter', (event) => { if (files(event)) { event.preventDefault(); hover(1); } });
  addEventListener('dragleave', (event) => files(event) && hover(-1));
  addEventListener('dragover', (event) => { if (files(event)) { event.preventDefault(); event.dataTransfer.dropEffect = 'copy'; } });
  addEventListener('drop', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    hover(-depth);
    take(event.dataTransfer.files[0]);
  });
}
