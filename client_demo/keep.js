// Keeping a moment: a PNG of the avatar, or a WebM of it.

const stamp = () => new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-');

function save(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export async function snapshot(video) {
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  save(await new Promise((done) => canvas.toBlob(done, 'image/png')), `narrate-${stamp()}.png`);
}

export class Recorder {
  get running() { return this.recorder?.state === 'recording'; }

  start(stream) {
    const type = ['video/webm;codecs=vp9,opus', 'video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4'].find((t) => MediaRecorder.isTypeSupported(t));
    this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 6e6 });
    const parts = [];
    this.recorder.ondataavailable = ({ data }) => data.size && parts.push(data);
    this.recorder.onstop = () => save(new Blob(parts, { type }), `narrate-${stamp()}.${type.includes('mp4') ? 'mp4' : 'webm'}`);
    this.recorder.start(1000);
    this.since = Date.now();
  }

  stop() { if (this.running) this.recorder.stop(); }
}
