// The page: wires the camera, the session and the controls together.

import { LightBall } from './ball.js';
import { openCamera } from './camera.js';
import { Dial } from './dial.js';
import { Recorder, snapshot } from './keep.js';
import { acceptDrops, Maps } from './maps.js';
import { mark, rove } from './radio.js';
import { Session } from './rtc.js';
import { Strip } from './strip.js';
import { view } from './view.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const token = query.get('token');
const GROUNDS = [
  ['relit', 'Relit', "the photograph's own background, in the new light"], ['original', 'Photo', "the photograph's own background, as it is"],
  ['blur', 'Blur', "the photograph's own background, out of focus"], ['environment', 'Scene', 'the environment map, or a studio wall in this light'],
  ['#0b0b0d', 'Black'], ['#f1ede6', 'Paper'], ['green', 'Green'],
];
const SWATCHES = { green: '#00b140' };

const state = { light: 'original', exposure: 0, warmth: 0, turn: 0, view: { yaw: 0, pitch: 0 }, background: 'relit', idle: true };
const ball = new LightBall($('ball'));
const dial = new Dial($('dial'));
const ask = (path, options = {}) => fetch(path, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
const strip = new Strip($('lights'), ask);
const maps = new Maps(strip, ask, (text) => toast(text, true));
let chosen = null; // the environment map that is on, if one is
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
function showLight() {
  const sun = !chosen && state.light.startsWith('sun:');
  strip.show(state.light, chosen);
  $('ball-text').textContent = sun ? `${ball.az.toFixed(0)}° · ${ball.el.toFixed(0)}°` : chosen ? chosen.label : state.light === 'original' ? 'drag the light' : state.light;
  $('dock').classList.toggle('on', sun);
}

/** A light by name; the ball stands where its key light does. */
function choose(name) {
  chosen = null;
  const rig = config.rigs[name];
  ball.active = false;
  ball.set(rig?.az ?? ball.az, rig?.el ?? ball.el);
  tell({ light: name }, true);
  showLight();
}

async function chooseMap(map) {
  if (!map) return null;
  chosen = map;
  ball.active = false;
  ball.set(ball.az, ball.el);
  showLight();
  if (!session?.open) return toast(`${map.name} lights the portrait as soon as the camera runs`);
  const { id } = session;
  const light = await maps.send(map, id);
  if (chosen !== map || session.id !== id) return null; // another light, or another session, which asks again
  if (light) return tell({ light }, true);
  chosen = null;
  touched.delete('light'); // what is on is the server's to say
  return showLight();
}

strip.addEventListener('choose', ({ detail }) => (detail.map ? chooseMap(detail.map) : choose(detail.light)));
$('add-map').addEventListener('click', () => $('map-file').click());
$('map-file').addEventListener('change', () => { chooseMap(maps.take($('map-file').files[0])); $('map-file').value = ''; });
acceptDrops($('veil'), (file) => file && chooseMap(maps.take(file)));

// a lamp is where the finger is, so the turn that came before is over
ball.addEventListener('light', () => { chosen = null; tell({ light: ball.text, turn: 0 }); showGrade(); showLight(); });

// ---- grade: exposure in stops, warmth in mired, turn in degrees ------------------------------------------------------------
const signed = (value, digits) => (Math.abs(value) < 0.5 * 10 ** -digits ? '0' : `${value > 0 ? '+' : '−'}${Math.abs(value).toFixed(digits)}`);
function showGrade() {
  for (const [id, digits] of [['exposure', 1], ['warmth', 0]]) {
    $(id).value = state[id];
    $(`${id}-out`).textContent = signed(state[id], digits);
  }
  dial.set(state.turn);
  $('turn-out').textContent = `${signed(dial.value, 0)}°`;
  if (ball.turn !== state.turn) { ball.turn = state.turn; ball.draw(); }
  $('reset').hidden = !(state.exposure || state.warmth || state.turn);
}
function grade(change, now = false) { tell(change, now); showGrade(); }
for (const id of ['exposure', 'warmth']) {
  $(id).addEventListener('input', () => grade({ [id]: Number($(id).value) }));
  $(id).addEventListener('dblclick', () => grade({ [id]: 0 }, true));
}
dial.addEventListener('turn', () => grade({ turn: dial.value }));
$('reset').addEventListener('click', () => grade({ exposure: 0, warmth: 0, turn: 0 }, true));

// ---- background -------------------------------------------------------------------------------------------------------------
function buildGrounds() {
  $('grounds').replaceChildren(...GROUNDS.map(([value, label, about = label]) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', title: about });
    const colour = SWATCHES[value] ?? (value.startsWith('#') ? value : null);
    button.setAttribute('role', 'radio');
    button.setAttribute('aria-label', label);
    button.dataset.ground = value;
    if (colour) button.style.setProperty('--ground', colour);
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

// ---- the driver: how well its neutral is known, what of its pose the portrait does not follow, what happens without one -----------
$('idle').addEventListener('change', () => tell({ idle: $('idle').checked }, true));
const showIdle = () => { $('idle').checked = state.idle; };
const CALM = 55; // % from which a neutral is a good one
const NAMES = { yaw: 'turn', pitch: 'nod', roll: 'tilt', x: 'way aside', y: 'way up or down', z: 'distance' };
function showNeutral(found) {
  const box = $('neutral'), percent = Math.round(100 * (found?.score ?? 0));
  box.style.setProperty('--known', `${percent}%`);
  box.setAttribute('aria-valuenow', percent);
  $('neutral-text').textContent = !found ? 'Your neutral face is found while you drive.'
    : found.by_hand ? `Neutral face set by hand${percent < CALM ? ', though not a calm one' : ''}`
      : percent < CALM ? 'Look at the camera for a moment, mouth closed' : `Neutral face ${percent} % known`;
}
function showHeld(held) {
  const shown = Object.entries(held ?? {}).filter(([, by]) => Math.abs(by) >= 1);
  $('held').hidden = !shown.length;
  $('held').textContent = shown.map(([name, by]) => `${NAMES[name] ?? name} eased by ${Math.abs(by).toFixed(0)}${name in { x: 0, y: 0, z: 0 } ? ' cm' : '°'}`).join(', ');
}

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
    for (const key of Object.keys(state)) if (!touched.has(key) && detail.state[key] != null) state[key] = detail.state[key];
    showLight();
    showGrade();
    showView();
    showGround();
    showIdle();
  }
  if (detail.stats) {
    serverStats = detail.stats;
    $('lost').hidden = detail.stats.tracking !== false;
    $('lost').textContent = `No face in view — the portrait ${state.idle ? 'lives on its own' : 'rests'}`;
    showHeld(detail.stats.held_back);
    showNeutral(detail.stats.calibration);
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
  session.addEventListener('ready', () => {
    const keys = [...touched].filter((key) => key !== 'light' || !state.light.startsWith('upload:'));
    if (keys.length) session.send(Object.fromEntries(keys.map((key) => [key, state[key]])));
    chooseMap(chosen); // a map is one session's: the next one has to get it again
  });
  session.addEventListener('media', ({ detail }) => {
    const video = $('avatar');
    video.muted = !stream.getAudioTracks().length;
    video.srcObject = detail;
    video.play().catch(() => {});
  });
  session.connect();
  window.narrate = { session, state, ball, dial, maps };
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
  $('model').addEventListener('change', () => { if (config.thumbnails) strip.load($('model').value); if (session) start(); });
  status('idle', 'not connected');
  strip.build(config);
  maps.most = config.max_upload ?? Infinity;
  buildGrounds();
  showLight();
  showGrade();
  showGround();
  $('start').addEventListener('click', start);
  $('start').disabled = false; // not before a click is heard
  setInterval(tick, 1000);
  if (config.thumbnails) strip.load($('model').value);
  return null;
}

begin();
