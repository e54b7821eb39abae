// The light ball: a shaded sphere; drag on it to say where the sun stands. AZ > 0 is right, EL > 0 is up, degrees.

import { wrapped } from './dial.js';

const RADIANS = Math.PI / 180;

export class LightBall extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.az = -40;
    this.el = 35;
    this.turn = 0; // degrees by which the whole light has been turned since
    this.active = false;
    canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); this.point(event); });
    canvas.addEventListener('pointermove', (event) => canvas.hasPointerCapture(event.pointerId) && this.point(event));
    canvas.addEventListener('keydown', (event) => this.key(event));
    this.draw();
  }

  /** Where the pointer stands on the disc, as a direction; outside the rim the light grazes from behind the edge. */
  point(event) {
    event.preventDefault();
    event.stopPropagation();
    const box = this.canvas.getBoundingClientRect();
    let x = (2 * (event.clientX - box.left)) / box.width - 1;
    let y = 1 - (2 * (event.clientY - box.top)) / box.height;
    const reach = Math.hypot(x, y) / 0.9;
    x /= 0.9; y /= 0.9;
    if (reach > 0.999) { x *= 0.999 / reach; y *= 0.999 / reach; }
    const z = Math.sqrt(Math.max(0, 1 - x * x - y * y));
    this.set(Math.atan2(x, z) / RADIANS, Math.asin(y) / RADIANS, true);
  }

  key(event) {
    const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.turn) this.az = wrapped(this.az + this.turn); // from where it is seen
    this.set(this.az + step[0], this.el + step[1], true);
  }

  set(az, el, byHand = false) {
    if (byHand) this.turn = 0; // a lamp is where the hand puts it
    this.az = Math.max(-90, Math.min(90, az));
    this.el = Math.max(-89, Math.min(89, el));
    this.active = byHand || this.active;
    this.draw();
    if (byHand) this.dispatchEvent(new CustomEvent('light'));
  }

  get text() { return `sun:${this.az.toFixed(0)},${this.el.toFixed(0)}`; }

  /** Lambert and a highlight on a clay sphere, dithered so that it does not band. */
  draw() {
    const { canvas, el } = this, az = this.az + this.turn;
    const size = canvas.width, c = canvas.getContext('2d'), r = 0.45 * size;
    const image = c.createImageData(size, size);
    const [a, e] = [az * RADIANS, el * RADIANS];
    const L = [Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e)];
    const H = [L[0], L[1], L[2] + 1], h = Math.hypot(...H) || 1;
    const power = (this.active ? 0.9 : 0.42);
    for (let j = 0; j < size; j++) for (let i = 0; i < size; i++) {
      const x = (i - size / 2 + 0.5) / r, y = -(j - size / 2 + 0.5) / r, d = x * x + y * y;
      if (d > 1.02) continue;
      const z = Math.sqrt(Math.max(0, 1 - d));
      const diffuse = Math.max(0, x * L[0] + y * L[1] + z * L[2]);
      const shine = Math.max(0, (x * H[0] + y * H[1] + z * H[2]) / h) ** 48;
      const rim = 0.05 * (1 - z) ** 2;
      const p = 4 * (j * size + i);
      const tone = (base, warm) => 255 * Math.min(1, (power * (diffuse * base + 0.5 * shine * warm) + 0.012 + rim)) ** (1 / 2.2) + Math.random() * 2 - 1;
      image.data[p] = tone(0.82, 1);
      image.data[p + 1] = tone(0.42, 0.85);
      image.data[p + 2] = tone(0.17, 0.55);
      image.data[p + 3] = 255 * Math.max(0, Math.min(1, (1.01 - Math.sqrt(d)) * r));
    }
    c.putImageData(image, 0, 0);
    this.handle(c, size, r, L);
    canvas.setAttribute('aria-valuenow', az.toFixed(0));
    canvas.setAttribute('aria-valuetext', this.active ? `azimuth ${az.toFixed(0)}°, elevation ${el.toFixed(0)}°` : 'another light is on');
  }

  handle(c, size, r, L) {
    const x = size / 2 + L[0] * r, y = size / 2 - L[1] * r;
    c.beginPath();
    c.arc(x, y, 0.045 * size, 0, 2 * Math.PI);
    c.fillStyle = this.active ? '#fff4dc' : 'rgba(255,244,220,.45)';
    c.shadowColor = 'rgba(255,200,120,.9)';
    c.shadowBlur = this.active ? 0.09 * size : 0;
    c.fill();
    c.shadowBlur = 0;
    c.lineWidth = 0.012 * size;
    c.strokeStyle = 'rgba(20,12,6,.55)';
    c.stroke();
  }
}
