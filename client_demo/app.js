// The page: wires the camera, the session and the controls together.

import { LightBall } from './ball.js';
import { openCamera } from './camera.js';
import { Recorder, snapshot } from './keep.js';
import { Session } from './rtc.js';
import { view } from './view.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const token = query.get('token');
// Colours of the preset buttons (bright, dark, middle); where the light stands comes from the server.
const TINTS = { neon: ['#ff3fa4', '#2ad4ff'], rim: ['#cfe2ff', '#24324a'], webcam: ['#c8f0e2', '#12201c', '#4f9682'], flat: ['#fff3dd', '#8f7760', '#dcc19c'], original: ['#d8d0c6', '#211d1a', '#857c72'],
  sunset: ['#ffc27a', '#1d1630', '#d9582f'], candle: ['#ffdf9e', '#0e0704', '#a4480f'] };
const GROUNDS = [['original', 'Original'], ['blur', 'Blur'], ['#0b0b0d', 'Black'], ['#f1ede6', 'Paper'], ['#00b140', 'Green']];

const state = { light: 'original', view: { yaw: 0, pitch: 0 }, background: 'original' };
const ball = new LightBall($('ball'));
const recorder = new Recorder();
let session = null;
let config = { models: [], lights: ['original'], rigs: {}, ice_servers: [] };
const touched = new Set(); // what the person chose; the rest is the server's to say
let serverStats = {};

// ---- sending: at most one message every 33 ms, the newest value of each control wins -----------------------------------
let pending = null;
function tell(control, now = false) {
  Object.assign(state, control);
  for (const key of Object.keys(control)) touched.add(key);
  pending = { ...pending, ...control };
  if (now) return flush();
  tell.timer ??= setTimeout(flush, 33);
}
function flush() {
  clearTimeout(tell.timer);
  tell.timer = null;
  if (pending) session?.send(pending);
  pending = null;
}

// ---- light --------------------------------------------------------------------------------------------------------------
function buildLights() {
  $('lights').replaceChildren(...config.lights.map((name) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('role', 'radio');
    button.dataset.light = name;
    const swatch = document.createElement('i');
    const { az = 0, el = 12, about = name === 'webcam' ? 'the light of your own room' : 'as it was photographed' } = config.rigs[name] ?? {};
    button.title = about;
    const [bright, dark, middle = '#b06f35'] = TINTS[name] ?? ['#ffd9a3', '#17110d'];
    const behind = Math.abs(az) > 100;
    const x = 50 + 46 * Math.sin(az * Math.PI / 180) * Math.cos(el * Math.PI / 180), y = 50 - 46 * Math.sin(el * Math.PI / 180);
    swatch.style.background = name === 'neon' ? `linear-gradient(90deg, ${bright}, #1a0f1c 50%, ${dark})`
      : behind ? `radial-gradient(circle at 36% 58%, #14100d 58%, ${bright} 88%)`
      : `radial-gradient(circle at ${x}% ${y}%, ${bright}, ${middle} ${name === 'flat' ? 60 : 36}%, ${dark} 86%)`;
    button.append(swatch, Object.assign(document.createElement('span'), { textContent: name === 'original' ? 'own light' : name }));
    button.addEventListener('click', () => { ball.active = false; ball.set(config.rigs[name]?.az ?? ball.az, config.rigs[name]?.el ?? ball.el); tell({ light: name }, true); showLight(); });
    return button;
  }));
  rove($('lights'));
}

function showLight() {
  const sun = state.light.startsWith('sun:');
  mark($('lights'), (button) => button.dataset.light === state.light);
  $('ball-text').textContent = sun ? `${ball.az.toFixed(0)}° · ${ball.el.toFixed(0)}°` : state.light === 'original' ? 'drag the light' : state.light;
  $('dock').classList.toggle('on', sun);
  $('gain').closest('label').classList.toggle('idle', !sun);
}

ball.addEventListener('light', () => { tell({ light: ball.text }); showLight(); });
$('gain').addEventListener('input', () => {
  ball.gain = Number($('gain').value);
  $('gain-out').textContent = ball.gain.toFixed(2);
  ball.set(ball.az, ball.el, true);
});

// ---- radio groups: one tab stop, arrows move --------------------------------------------------------------------------------
function mark(group, chosen) {
  const buttons = [...group.children];
  let any = false;
  for (const button of buttons) {
    const on = chosen(button);
    any ||= on;
    button.setAttribute('aria-checked', String(on));
    button.tabIndex = on ? 0 : -1;
  }
  if (!any && buttons.length) buttons[0].tabIndex = 0;
}
function rove(group) {
  group.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...group.children], at = buttons.indexOf(document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

// ---- background -------------------------------------------------------------------------------------------------------------
function buildGrounds() {
  $('grounds').replaceChildren(...GROUNDS.map(([value, label]) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', title: label });
    button.setAttribute('role', 'radio');
    button.setAttribute('aria-label', label);
    button.dataset.ground = value;
    if (value.startsWith('#')) button.style.setProperty('--ground', value);
    else button.textContent = label;
    button.addEventListener('click', () => { tell({ background: value }, true); showGround(); });
    return button;
  }));
  const own = Object.assign(document.createElement('input'), { type: 'color', value: '#3a2c52', title: 'Any colour' });
  own.setAttribute('aria-label', 'Any colour');
  own.addEventListener('input', () => { tell({ background: own.value }); showGround(); });
  $('grounds').after(own);
  own.id = 'own-ground';
  rove($('grounds'));
}
const showGround = () => mark($('grounds'), (button) => button.dataset.ground === state.background);

// ---- turning the head ---------------------------------------------------------------------------------------------------------
const limit = (value, most) => Math.max(-most, Math.min(most, value));
function turn(yaw, pitch, now = false) {
  tell({ view: { yaw: limit(yaw, 45), pitch: limit(pitch, 30) } }, now);
  showView();
}
function showView() {
  const { yaw, pitch } = state.view, label = $('turned');
  label.hidden = Math.abs(yaw) + Math.abs(pitch) < 0.5;
  label.textContent = `${yaw.toFixed(0)}° ${pitch.toFixed(0)}°`;
}
const picture = $('picture');
let grip = null;
picture.addEventListener('pointerdown', (event) => {
  if (event.button || event.target.closest('button, input, label, .ball-dock, .welcome')) return;
  grip = { x: event.clientX, y: event.clientY, ...state.view };
  picture.setPointerCapture(event.pointerId);
  picture.classList.add('turning');
});
picture.addEventListener('pointermove', (event) => {
  if (!grip) return;
  const scale = 90 / picture.clientWidth;
  turn(grip.yaw + (event.clientX - grip.x) * scale, grip.pitch - (event.clientY - grip.y) * scale);
});
const release = () => { grip = null; picture.classList.remove('turning'); };
picture.addEventListener('pointerup', release);
picture.addEventListener('pointercancel', release);
picture.addEventListener('dblclick', () => turn(0, 0, true));
picture.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: [-3, 0], ArrowRight: [3, 0], ArrowUp: [0, 3], ArrowDown: [0, -3] }[event.key];
  if (event.target !== picture || !(step || event.key === 'Home')) return;
  event.preventDefault();
  if (step) turn(state.view.yaw + step[0], state.view.pitch + step[1]);
  else turn(0, 0, true);
});
$('centre').addEventListener('click', () => turn(0, 0, true));
$('calibrate').addEventListener('click', () => { session?.send({ calibrate: true }); toast('This face is neutral now'); });

// ---- keeping --------------------------------------------------------------------------------------------------------------------
$('snapshot').addEventListener('click', () => snapshot($('avatar')));
$('record').addEventListener('click', () => (recorder.running ? recorder.stop() : recorder.start($('avatar').srcObject), showRecord()));
function showRecord() {
  const seconds = recorder.running ? Math.floor((Date.now() - recorder.since) / 1000) : 0;
  $('record').setAttribute('aria-pressed', String(recorder.running));
  $('record').lastElementChild.textContent = recorder.running ? `Stop ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}` : 'Record';
}

// ---- words ------------------------------------------------------------------------------------------------------------------------
function toast(text, bad = false) {
  const box = $('toast');
  box.textContent = text;
  box.classList.toggle('bad', bad);
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, 3500);
}
function status(phase, text) {
  document.body.dataset.phase = phase;
  for (const id of ['calibrate', 'snapshot', 'record']) $(id).disabled = phase !== 'live';
  $('status').lastElementChild.textContent = text;
}
function welcome(title, text, button) {
  $('welcome').hidden = false;
  $('welcome-title').textContent = title;
  $('welcome-text').textContent = text;
  $('start').textContent = button;
  $('start').disabled = false;
}

// ---- session ----------------------------------------------------------------------------------------------------------------------
function onStatus({ detail }) {
  const { phase, reason, code } = detail;
  if (phase === 'live') { status('live', 'live'); $('welcome').hidden = true; }
  else if (phase === 'connecting') status('busy', 'connecting …');
  else if (phase === 'reconnecting') status('busy', 'trying again …');
  else if (phase === 'waiting') {
    status('lost', `${reason}, trying again`);
    if (recorder.running) { recorder.stop(); showRecord(); }
  } else if (phase === 'refused') {
    status('lost', 'refused');
    welcome(code === 'unauthorized' ? 'This server asks for a token' : 'The server refused', code === 'unauthorized'
      ? 'Open the address with ?token=… at its end, as the person who runs the server gave it to you.' : reason, 'Try again');
  }
}

function onMessage({ detail }) {
  if (detail.error) toast(detail.error.message, true);
  if (detail.state) {
    for (const key of ['light', 'view', 'background']) if (!touched.has(key) && detail.state[key]) state[key] = detail.state[key];
    showLight();
    showView();
    showGround();
  }
  if (detail.stats) {
    serverStats = detail.stats;
    $('lost').hidden = detail.stats.tracking !== false;
  }
}

async function start() {
  $('start').disabled = true;
  session?.stop();
  let stream;
  try {
    stream = await openCamera($('use-audio').checked);
  } catch (error) {
    status('lost', error.title.toLowerCase());
    return welcome(error.title, error.message, 'Try again');
  }
  $('webcam').srcObject = stream;
  $('inset').hidden = false;
  status('busy', 'connecting …');
  $('welcome-text').textContent = 'Preparing the portrait …';
  stream.getVideoTracks()[0].addEventListener('ended', () => {
    session?.stop();
    status('lost', 'camera gone');
    welcome('The camera went away', 'It was unplugged or switched off.', 'Try again');
  });
  session = new Session({ stream, token, iceServers: config.ice_servers, options: () => (config.models.length > 1 ? { model: $('model').value } : {}) });
  session.addEventListener('status', onStatus);
  session.addEventListener('message', onMessage);
  session.addEventListener('ready', () => touched.size && session.send(Object.fromEntries([...touched].map((key) => [key, state[key]]))));
  session.addEventListener('media', ({ detail }) => {
    const video = $('avatar');
    video.muted = !stream.getAudioTracks().length;
    video.srcObject = detail;
    video.play().catch(() => {});
  });
  session.connect();
  window.narrate = { session, state, ball };
}

async function tick() {
  if (recorder.running) showRecord();
  const live = document.body.dataset.phase === 'live';
  $('hud').hidden = !live;
  if (!live) return;
  const { rtt, buffer, fps, kbps } = await session.numbers();
  const delay = serverStats.latency_ms == null ? null : serverStats.latency_ms + (rtt ?? 0) + (buffer ?? 0);
  $('hud-fps').textContent = fps == null ? '–' : fps.toFixed(0);
  $('hud-delay').textContent = delay == null ? '–' : `${delay.toFixed(0)} ms`;
  $('hud-rate').textContent = kbps == null ? '–' : kbps > 999 ? `${(kbps / 1000).toFixed(1)} Mb/s` : `${kbps.toFixed(0)} kb/s`;
  $('hud').title = `server ${serverStats.latency_ms ?? '–'} ms, round trip ${rtt?.toFixed(0) ?? '–'} ms, buffer ${buffer?.toFixed(0) ?? '–'} ms, dropped ${serverStats.dropped ?? 0}`;
}

async function begin() {
  try {
    config = { ...config, ...(await (await fetch('/api/config')).json()) };
  } catch { status('lost', 'the server does not answer'); }
  if (query.has('view')) return view(token, config.ice_servers);
  $('model').replaceChildren(...config.models.map((name) => new Option(name)));
  $('model-pick').hidden = config.models.length < 2;
  $('model').addEventListener('change', () => session && start());
  status('idle', 'not connected');
  buildLights();
  buildGrounds();
  showLight();
  showGround();
  $('start').addEventListener('click', start);
  setInterval(tick, 1000);
  return null;
}

begin();
