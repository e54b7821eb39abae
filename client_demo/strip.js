// The strip of lights: this very face in each of them, as the server draws it; a swatch until it has, or where it cannot.

import { mark, rove } from './radio.js';

// Colours of the swatches (bright, dark, middle); where the light stands comes from the server.
const TINTS = { neon: ['#ff3fa4', '#2ad4ff'], rim: ['#cfe2ff', '#24324a'], webcam: ['#c8f0e2', '#12201c', '#4f9682'], flat: ['#fff3dd', '#8f7760', '#dcc19c'], original: ['#d8d0c6', '#211d1a', '#857c72'],
  sunset: ['#ffc27a', '#1d1630', '#d9582f'], candle: ['#ffdf9e', '#0e0704', '#a4480f'] };
const ABOUT = { webcam: 'the light of your own room', original: 'as it was photographed' };

function swatch(name, { az = 0, el = 12 } = {}) {
  const [bright, dark, middle = '#b06f35'] = TINTS[name] ?? ['#ffd9a3', '#17110d'];
  if (name === 'neon') return `linear-gradient(90deg, ${bright}, #1a0f1c 50%, ${dark})`;
  if (Math.abs(az) > 100) return `radial-gradient(circle at 36% 58%, #14100d 58%, ${bright} 88%)`;
  const x = 50 + 46 * Math.sin(az * Math.PI / 180) * Math.cos(el * Math.PI / 180), y = 50 - 46 * Math.sin(el * Math.PI / 180);
  return `radial-gradient(circle at ${x}% ${y}%, ${bright}, ${middle} ${name === 'flat' ? 60 : 36}%, ${dark} 86%)`;
}

export class Strip extends EventTarget {
  /** Events: `choose` with {light} or {map}. `ask(path)` fetches from the server with the token. */
  constructor(group, ask) {
    super();
    Object.assign(this, { group, ask, round: 0 });
    rove(group);
  }

  build({ lights, rigs }) {
    this.group.replaceChildren(...lights.map((name) => {
      const button = this.tile(name === 'original' ? 'own light' : name, rigs[name]?.about ?? ABOUT[name] ?? name, { light: name });
      button.firstChild.style.background = swatch(name, rigs[name]);
      return button;
    }));
  }

  tile(label, title, choice) {
    const button = Object.assign(document.createElement('button'), { type: 'button', title });
    button.setAttribute('role', 'radio');
    button.choice = choice;
    if (choice.light) button.dataset.light = choice.light;
    button.append(document.createElement('i'), Object.assign(document.createElement('span'), { textContent: label }));
    button.addEventListener('click', () => this.dispatchEvent(new CustomEvent('choose', { detail: choice })));
    return button;
  }

  /** One after the other: somebody's avatar may be waiting for the same thread of the server. */
  async load(model) {
    const round = ++this.round;
    for (const button of this.group.children) {
      const { light } = button.choice;
      if (!light || light === 'webcam') continue;
      const answer = await this.ask(`/thumbnails/${light}${model ? `?model=${encodeURIComponent(model)}` : ''}`).catch(() => null);
      if (round !== this.round || !answer?.ok) return;
      this.picture(button, URL.createObjectURL(await answer.blob()));
    }
  }

  picture(button, url) {
    const old = button.querySelector('img'), image = Object.assign(new Image(), { src: url, alt: '', draggable: false });
    image.onload = () => { image.classList.add('in'); old?.remove(); if (old?.src.startsWith('blob:')) URL.revokeObjectURL(old.src); };
    button.firstChild.append(image);
  }

  /** A tile for an environment map of the person's own: {name, label, ...}. */
  add(map) {
    map.tile = this.tile(map.label, map.name, { map });
    map.tile.dataset.map = map.label;
    map.tile.firstChild.style.background = 'conic-gradient(from 200deg, #5b6b7d, #e8a556, #7d5a3c, #33404d, #5b6b7d)';
    this.group.append(map.tile);
  }

  show(light, map) {
    mark(this.group, ({ choice }) => (choice.map ? choice.map === map : !map && choice.light === light));
    this.reveal(this.group.querySelector('[aria-checked=true]'));
  }

  /** On a narrow page the strip scrolls sideways; browsers open it at its end, where it grew. */
  reveal(on) {
    if (!on || on === this.on) return;
    const scroller = this.group.parentElement, view = scroller.getBoundingClientRect(), tile = on.getBoundingClientRect();
    if (tile.left < view.left || tile.right > view.right) scroller.scrollLeft += tile.left - view.left - (view.width - tile.width) / 2;
    this.on = on;
  }
}
