// View only (`?view=1`): the avatar by WHEP on a transparent page, for an OBS Browser Source.

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function play(video, token, iceServers) {
  const pc = new RTCPeerConnection({ iceServers });
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  const stream = new MediaStream();
  pc.ontrack = ({ track, receiver }) => {
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
    stream.addTrack(track);
    video.srcObject = stream;
    video.play().catch(() => { video.muted = true; return video.play(); }).catch(() => {});
  };
  const over = new Promise((done) => {
    pc.onconnectionstatechange = () => ['failed', 'closed', 'disconnected'].includes(pc.connectionState) && done();
  });
  await pc.setLocalDescription();
  await Promise.race([wait(500), new Promise((done) => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done(); })]);
  const headers = { 'Content-Type': 'application/sdp', ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch('/whep', { method: 'POST', headers, body: pc.localDescription.sdp });
  if (answer.status !== 201) { pc.close(); throw new Error(`the server answered ${answer.status}`); }
  const session = answer.headers.get('Location');
  const leave = () => fetch(session, { method: 'DELETE', headers, keepalive: true }).catch(() => {});
  addEventListener('pagehide', leave, { once: true });
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  await over;
  removeEventListener('pagehide', leave);
  pc.close();
}

export async function view(token, iceServers) {
  document.documentElement.classList.add('view-only');
  const video = Object.assign(document.createElement('video'), { id: 'avatar', autoplay: true, playsInline: true });
  document.body.replaceChildren(video);
  for (;;) {
    try { await play(video, token, iceServers); } catch (error) { console.info(`narrate: ${error.message}`); }
    await wait(1500);
  }
}
