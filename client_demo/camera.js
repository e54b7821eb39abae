// The driver's camera, and clear words for everything that can keep it from us.

const CAMERA = { width: { ideal: 640, max: 1280 }, height: { ideal: 480, max: 1280 }, frameRate: { ideal: 30, max: 30 }, facingMode: 'user' };

const WORDS = {
  NotAllowedError: ['The camera is blocked', 'Allow the camera for this page (the icon in the address bar), then try again.'],
  NotFoundError: ['No camera was found', 'Plug in a camera, or open this page on a device that has one, then try again.'],
  NotReadableError: ['The camera is busy', 'Another program seems to use it. Close that one, then try again.'],
  OverconstrainedError: ['The camera cannot do this', 'It offers no picture of a usable size. Try another camera.'],
};

export class CameraError extends Error {
  constructor([title, text]) { super(text); this.title = title; }
}

export async function openCamera(audio) {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new CameraError(['This page is not secure', `Browsers give the camera to https pages and to localhost only. Open https://${location.host}/ or http://localhost:${location.port || 80}/ on the server's own machine.`]);
  const sound = audio && { echoCancellation: true, noiseSuppression: true };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: CAMERA, audio: sound });
    for (const track of stream.getVideoTracks()) track.contentHint = 'motion';
    return stream;
  } catch (error) {
    throw new CameraError(WORDS[error.name] ?? ['The camera did not start', error.message || error.name]);
  }
}
