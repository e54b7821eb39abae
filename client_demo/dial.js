// The rotation dial: the person from above, looking down at the viewer; the knob is the light that goes round. Degrees, > 0 is right.

export const wrapped = (degrees) => ((degrees + 180) % 360 + 360) % 360 - 180;

export class Dial extends EventTarget {
  constructor(element) {
    super();
    this.element = element;
    element.addEventListener('pointerdown', (event) => { element.setPointerCapture(event.pointerId); this.point(event); });
    element.addEventListener('pointermove', (event) => element.hasPointerCapture(event.pointerId) && this.point(event));
    element.addEventListener('dblclick', () => this.set(0, true));
    element.addEventListener('keydown', (event) => this.key(event));
    this.set(0);
  }

  point(event) {
    event.preventDefault();
    this.element.focus();
    const box = this.element.getBoundingClientRect();
    const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
    if (Math.hypot(x, y) < 4) return; // too close to the middle to mean a direction
    const at = Math.round(Math.atan2(x, y) * 180 / Math.PI);
    this.set(Math.abs(at) < 4 ? 0 : at, true);
  }

  key(event) {
    const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -45, PageUp: 45 }[event.key];
    if (!step && event.key !== 'Home') return;
    event.preventDefault();
    this.set(step ? this.value + step : 0, true);
  }

  set(value, byHand = false) {
    this.value = wrapped(value);
    this.element.style.setProperty('--turn', `${-this.value}deg`);
    this.element.setAttribute('aria-valuenow', this.value.toFixed(0));
    this.element.setAttribute('aria-valuetext', `${this.value.toFixed(0)} degrees`);
    if (byHand) this.dispatchEvent(new Event('turn'));
  }
}
