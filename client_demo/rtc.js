// One session with the server: /ws signalling, the avatar's video, the `control` channel, statistics, and reconnection.

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];

export class Session extends EventTarget {
  /** `options()` gives what a (re)connection starts with, such as {model, light}; `stream` is the driver's. */
  constructor({ stream, token, iceServers = [], options = () => ({}) }) {
    super();
    Object.assign(this, { stream, token, iceServers, options });
    this.tries = 0;
    this.stopped = false;
  }

  emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  connect() {
    clearTimeout(this.timer);
    this.drop();
    this.emit('status', { phase: this.tries ? 'reconnecting' : 'connecting' });
    const socket = this.socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
    socket.onopen = () => this.offer(socket).catch((error) => this.retry(error.message));
    socket.onmessage = (event) => this.hear(socket, JSON.parse(event.data));
    socket.onclose = () => socket === this.socket && this.retry('the server went away');
  }

  async offer(socket) {
    const pc = this.pc = new RTCPeerConnection({ iceServers: this.iceServers });
    const remote = new MediaStream();
    pc.ontrack = ({ track, receiver, transceiver }) => {
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
      if ('playoutDelayHint' in receiver) receiver.playoutDelayHint = 0;
      remote.addTrack(track);
      if (track.kind === 'video') this.receiver = transceiver.receiver;
      this.emit('media', remote);
    };
    pc.onconnectionstatechange = () => {
      if (pc !== this.pc) return;
      if (pc.connectionState === 'connected') { this.tries = 0; this.emit('status', { phase: 'live' }); }
      if (pc.connectionState === 'failed') this.retry('the connection was lost');
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate && socket.readyState === WebSocket.OPEN && this.offered === pc)
        socket.send(JSON.stringify({ type: 'candidate', candidate: candidate.toJSON() }));
    };
    const channel = this.channel = pc.createDataChannel('control'); // reliable: a click that is lost is never made good
    channel.onopen = () => this.emit('ready');
    channel.onmessage = (event) => this.emit('message', JSON.parse(event.data));
    for (const track of this.stream.getTracks()) {
      const { sender } = pc.addTransceiver(track, { direction: 'sendrecv', streams: [this.stream] });
      if (track.kind === 'video') this.quicken(sender);
    }
    await pc.setLocalDescription();
    socket.send(JSON.stringify({ type: 'offer', sdp: pc.localDescription.sdp, token: this.token || undefined, options: this.options() }));
    this.offered = pc;
  }

  /** Keep motion fluid rather than sharp when the line is thin. */
  quicken(sender) {
    const parameters = sender.getParameters();
    parameters.degradationPreference = 'maintain-framerate';
    sender.setParameters(parameters).catch(() => {});
  }

  async hear(socket, message) {
    if (socket !== this.socket) return;
    if (message.type === 'answer') this.id = message.session;
    if (message.type === 'answer') await this.pc.setRemoteDescription({ type: 'answer', sdp: message.sdp });
    else if (message.type === 'candidate' && message.candidate) await this.pc.addIceCandidate(message.candidate).catch(() => {});
    else if (message.type === 'error') {
      if (message.code === 'bad-candidate') return;
      if (message.code === 'busy') this.retry(message.message);
      else { this.stop(); this.emit('status', { phase: 'refused', code: message.code, reason: message.message }); }
    }
  }

  get open() { return this.channel?.readyState === 'open'; }

  send(control) {
    if (this.open) this.channel.send(JSON.stringify(control));
  }

  /** Numbers for the HUD: round trip, jitter buffer, frames a second, received bits a second. */
  async numbers() {
    const found = { rtt: null, buffer: null, fps: null, kbps: null };
    if (!this.pc || this.pc.connectionState !== 'connected') return found;
    const before = this.before ?? {};
    for (const s of (await this.pc.getStats()).values()) {
      if (s.type === 'candidate-pair' && s.nominated && s.currentRoundTripTime != null) found.rtt = 1000 * s.currentRoundTripTime;
      if (s.type !== 'inbound-rtp' || s.kind !== 'video') continue;
      const frames = s.jitterBufferEmittedCount - (before.frames ?? 0);
      if (frames > 0) found.buffer = 1000 * (s.jitterBufferDelay - (before.delay ?? 0)) / frames;
      if (before.at) found.kbps = 8 * (s.bytesReceived - before.bytes) / (s.timestamp - before.at);
      found.fps = s.framesPerSecond ?? null;
      this.before = { at: s.timestamp, bytes: s.bytesReceived, frames: s.jitterBufferEmittedCount, delay: s.jitterBufferDelay };
    }
    return found;
  }

  retry(reason) {
    if (this.stopped) return;
    this.drop();
    const wait = BACKOFF_MS[Math.min(this.tries++, BACKOFF_MS.length - 1)] * (0.8 + 0.4 * Math.random());
    this.emit('status', { phase: 'waiting', reason, wait });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  drop() {
    const { socket, pc } = this;
    this.socket = this.pc = this.channel = this.receiver = this.before = null;
    if (socket) { socket.onclose = null; socket.close(); }
    pc?.close();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.drop();
  }
}
